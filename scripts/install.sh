#!/bin/sh
# Puts the Circinus agent on this machine, keeps it there, takes it away. Run it again: what is right is left alone.
#
#   install.sh --device NAME --planner HOST:PORT --tier edge --site SITE --token-file FILE    from PyPI
#   install.sh --bundle FILE ...                    from an offline bundle (scripts/offline-bundle), with no network
#   install.sh --upgrade --bundle FILE --confirm-within 120 ;  --confirm ;  --roll-back
#   install.sh --status | --check | --leave | --uninstall [--purge]          and --dry-run with any of them
#
# What is on the box then:
#   PREFIX/versions/ID/          one virtual environment for each version that is kept: the one in use and the one before
#   PREFIX/current, previous     links to them;  PREFIX/bin -> current/bin
#   PREFIX/wheels/               what operators' environments are built from without a network (from bundles)
#   PREFIX/libexec/              this file and the supervisor for machines without systemd
#   PREFIX/install.env           where everything is (and *.sha256: of what it was made);  PREFIX/upgrade.pending while a new version is on trial
#
# A version is switched by one rename of a link, and an upgrade that is not confirmed in time is taken back by the box
# itself: the new version may be the very thing that cut it off.
set -eu
umask 022

prefix=/opt/circinus config_dir=/etc/circinus state_dir=/var/lib/circinus user=circinus service=auto
unit_dir=/etc/systemd/system run_dir='' log_dir='' python='' package=circinus version='' bundle='' index_url=''
device='' planner='' enrol='' tier='' site='' config='' template='' labels='' settings='' token_file=''
action=install dry='' purge='' force_config='' rejoin='' confirm_within_s='' given=''
newline='
'

usage() {
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" | sed '/^set -eu/d'
    cat <<'HELP'

what to install        --bundle FILE | [--package SPEC] [--version V] [--index-url URL];  --python PATH
the configuration      --config FILE, or --template FILE (@DEVICE@ @PLANNER@ @TIER@ @SITE@ @STATE_DIR@ @WHEELS@), or
                       --device --planner --tier --site [--enrol HOST:PORT] [--label KEY=VALUE]... [--set 'KEY = VALUE']...
                       --force-config: replace a file that somebody has edited
the identity           --token-file FILE, or - for stdin (never on the command line);  --rejoin: also if it has one
where                  --prefix --config-dir --state-dir --run-dir --log-dir --unit-dir --user
                       --service auto|systemd|plain|none
exit codes             0 done, or nothing to do; 1 failed, with the cure; 2 a bad command line
HELP
}

changes=0
step='reading the command line'
said() { printf '%-9s %s\n' "$1" "$2"; }
same() { said same "$1"; }
changed() {
    changes=$((changes + 1))
    if [ -n "$dry" ]; then said would "$1"; else said changed "$1"; fi
}
fail() {
    printf 'install: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '     -> %s\n' "$2" >&2
    exit "${3:-1}"
}

scratch='' lock='' building=''
ended() {
    code=$?
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$lock" ] || rm -rf "$lock"
    [ -z "$building" ] || [ -f "$building/.complete" ] || rm -rf "$building"
    if [ "$code" -ne 0 ] && [ "$code" -ne 2 ] && [ -z "$dry" ]; then
        echo "install: stopped while $step; nothing that ran before was taken away: run the same command again" >&2
    fi
}

while [ $# -gt 0 ]; do
    case $1 in
    --bundle | --package | --version | --index-url | --python | --config | --template | --device | --planner | --tier | \
        --site | --enrol | --label | --set | --token-file | --prefix | --config-dir | --state-dir | --run-dir | --log-dir | --unit-dir | \
        --user | --service | --confirm-within)
        [ $# -ge 2 ] || fail "$1 needs a value" "see $0 --help" 2
        given="$given $1"
        ;;
    esac
    case $1 in
    --bundle) bundle=$2 && shift ;;
    --package) package=$2 && shift ;;
    --version) version=$2 && shift ;;
    --index-url) index_url=$2 && shift ;;
    --python) python=$2 && shift ;;
    --config) config=$2 && shift ;;
    --template) template=$2 && shift ;;
    --device) device=$2 && shift ;;
    --planner) planner=$2 && shift ;;
    --enrol) enrol=$2 && shift ;;
    --tier) tier=$2 && shift ;;
    --site) site=$2 && shift ;;
    --label)
        case $2 in ?*=*) ;; *) fail "label '$2' is not KEY=VALUE" '--label zone=north' 2 ;; esac
        labels="$labels\"${2%%=*}\" = \"${2#*=}\"$newline" && shift
        ;;
    --set)
        case $2 in ?*=*) ;; *) fail "setting '$2' is not KEY = VALUE" "--set 'price_per_h = 0.04'" 2 ;; esac
        settings="$settings$2$newline" && shift
        ;;
    --token-file) token_file=$2 && shift ;;
    --prefix) prefix=$2 && shift ;;
    --config-dir) config_dir=$2 && shift ;;
    --state-dir) state_dir=$2 && shift ;;
    --run-dir) run_dir=$2 && shift ;;
    --log-dir) log_dir=$2 && shift ;;
    --unit-dir) unit_dir=$2 && shift ;;
    --user) user=$2 && shift ;;
    --service) service=$2 && shift ;;
    --confirm-within) confirm_within_s=$2 && shift ;;
    --upgrade) action=upgrade ;;
    --confirm) action=confirm ;;
    --roll-back) action=roll_back ;;
    --settle) action=settle ;;
    --watch) action=watch ;;
    --status) action=status ;;
    --check) action=check ;;
    --leave) action=leave ;;
    --uninstall) action=uninstall ;;
    --purge) purge=1 ;;
    --dry-run) dry=1 ;;
    --force-config) force_config=1 ;;
    --rejoin) rejoin=1 ;;
    -h | --help) usage && exit 0 ;;
    *) fail "there is no option $1" "see $0 --help; a token is never an argument: others could read it" 2 ;;
    esac
    shift
done

asked() { case "$given " in *" $1 "*) return 0 ;; esac && return 1; }
for path in "$prefix" "$config_dir" "$state_dir" "$unit_dir"; do
    case $path in /?*) ;; *) fail "path '$path' is not absolute" 'give paths that start with /' 2 ;; esac
    case $path in *[!A-Za-z0-9/._+-]*) fail "path '$path' has characters that units and links don't take" 'use A-Z a-z 0-9 / . _ + -' 2 ;; esac
done
case $service in auto | systemd | plain | none) ;; *) fail "--service is '$service'" 'use auto, systemd, plain or none' 2 ;; esac
case ${confirm_within_s:-1} in *[!0-9]* | 0*) fail "--confirm-within is '$confirm_within_s'" 'give whole seconds, such as 120' 2 ;; esac

# What an earlier run was told of the places holds, unless this one says otherwise.
remembered() { sed -n "s/^$1=//p" "$prefix/install.env" 2>/dev/null || true; }
if [ -f "$prefix/install.env" ]; then
    asked --config-dir || config_dir=$(remembered config_dir)
    asked --state-dir || state_dir=$(remembered state_dir)
    asked --unit-dir || unit_dir=$(remembered unit_dir)
    asked --run-dir || run_dir=$(remembered run_dir)
    asked --log-dir || log_dir=$(remembered log_dir)
    asked --user || user=$(remembered user)
    asked --service || service=$(remembered service)
fi
[ -n "$run_dir" ] || run_dir=/run/circinus
[ -n "$log_dir" ] || log_dir=/var/log/circinus
if [ "$service" = auto ]; then
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then service=systemd; else service=plain; fi
fi
live_config=$config_dir/agent.toml
pid_file=$run_dir/supervise.pid
pending=$prefix/upgrade.pending
me=$(id -un)

# --- what is there ---------------------------------------------------------------------------------------------------

id_of() { if [ -L "$prefix/$1" ]; then basename "$(readlink "$prefix/$1")"; fi; }
version_of() { [ -z "$1" ] || cat "$prefix/versions/$1/.version" 2>/dev/null || true; }
whole() { [ -n "$1" ] && [ -f "$prefix/versions/$1/.complete" ]; }
alive() { [ -n "$1" ] && [ -d "/proc/$1" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }
supervisor_pid() {
    found=$(cat "$pid_file" 2>/dev/null || true)
    # A pid file outlives its process, and a number is given again.
    if alive "$found" && tr '\0' ' ' <"/proc/$found/cmdline" 2>/dev/null | grep -q "libexec/supervise $prefix "; then echo "$found"; fi
}
agent_pid() {
    case $service in
    systemd) systemctl show -p MainPID --value edge-agent 2>/dev/null | sed 's/^0$//' ;;
    plain) [ -z "$(supervisor_pid)" ] || { one=$(cat "$run_dir/agent.pid" 2>/dev/null || true) && ! alive "$one" || echo "$one"; } ;;
    esac
}
# The version that a process runs is the folder that its interpreter was started from.
running_id() {
    one=$(agent_pid)
    [ -z "$one" ] || tr '\0' '\n' <"/proc/$one/cmdline" 2>/dev/null | sed -n "s|^$prefix/versions/\([^/]*\)/.*|\1|p" | head -n 1
}
enrolled() { [ -f "$state_dir/identity/certificate.pem" ] && [ -f "$state_dir/identity/key.pem" ]; }
insecure() { grep -q '^insecure_loopback *= *true' "$live_config" 2>/dev/null; }
device_of() { sed -n 's/^device_id *= *"\([^"]*\)".*/\1/p' "$live_config" 2>/dev/null | head -n 1; }
uptime_s() { sed 's/[. ].*//' /proc/uptime; }
boot_id() { cat /proc/sys/kernel/random/boot_id; }
digest_of() { sha256sum "$1" | cut -d' ' -f1; }
as_user() {
    if [ "$me" = "$user" ]; then
        "$@"
    elif command -v setpriv >/dev/null; then
        setpriv --reuid "$user" --regid "$(id -gn "$user")" --init-groups --no-new-privs "$@"
    else
        # shellcheck disable=SC2016  # expanded by the other shell
        su -s /bin/sh "$user" -c 'exec "$0" "$@"' -- "$@"
    fi
}
own() { [ "$me" != root ] || chown "$1" "$2"; }

# --- one at a time, and half a job leaves nothing wrong ----------------------------------------------------------------

guard() {
    trap ended EXIT
    trap 'exit 1' HUP INT TERM
    scratch=$(mktemp -d)
    [ -z "$dry" ] || return 0
    mkdir -p "$prefix" 2>/dev/null || fail "$prefix can't be made by $me" 'run this as root: sudo sh install.sh ...; or give --prefix, --config-dir, --state-dir and --user of your own'
    [ -w "$prefix" ] || fail "$prefix can't be written by $me" 'run this as root: sudo sh install.sh ...'
    while ! mkdir "$prefix/.lock" 2>/dev/null; do
        other=$(cat "$prefix/.lock/pid" 2>/dev/null || true)
        if ! alive "$other"; then
            # Whoever had it is gone, or is just now writing its number down.
            sleep 1
            [ "$(cat "$prefix/.lock/pid" 2>/dev/null || true)" != "$other" ] || rm -rf "$prefix/.lock"
        elif [ "$action" = watch ]; then
            sleep 1
        else
            fail "another install of $prefix runs (process $other)" 'wait for it to end'
        fi
    done
    lock=$prefix/.lock
    echo $$ >"$lock/pid"
}

# --- a version ---------------------------------------------------------------------------------------------------------

facts=''
fact() { sed -n "s/^$1 //p" "$facts"; }

open_bundle() {
    step='reading the bundle'
    [ -f "$bundle" ] || fail "there is no bundle $bundle" 'make one with scripts/offline-bundle, and give its path'
    command -v sha256sum >/dev/null || fail 'there is no sha256sum' 'install coreutils'
    mkdir "$scratch/bundle"
    tar -xf "$bundle" -C "$scratch/bundle" 2>"$scratch/said" || fail "$bundle is no whole archive: $(tail -n 1 "$scratch/said")" 'copy it again, or make it anew'
    facts=$scratch/bundle/BUNDLE
    { [ -f "$facts" ] && [ -f "$scratch/bundle/MANIFEST" ]; } || fail "$bundle is no bundle of Circinus" 'make one with scripts/offline-bundle'
    (cd "$scratch/bundle" && sha256sum --quiet -c MANIFEST) >"$scratch/said" 2>&1 || fail "$bundle is damaged: $(head -n 1 "$scratch/said")" 'copy it again, or make it anew'
    machine=$(uname -m)
    [ "$(fact machine)" = "$machine" ] || fail "$bundle is for $(fact machine); this machine is $machine" "scripts/offline-bundle --platform ... makes one for it"
}

find_python() {
    step='looking for Python'
    wanted=''
    [ -z "$facts" ] || wanted=$(fact python)
    for one in ${python:-${wanted:+python$wanted} python3.13 python3.12 python3.11 python3}; do
        command -v "$one" >/dev/null || continue
        has=$("$one" -c 'import sys, venv; print("%d.%d" % sys.version_info[:2] if sys.version_info >= (3, 11) else "old")' 2>/dev/null) || continue
        [ "$has" != old ] || continue
        [ -z "$wanted" ] || [ "$has" = "$wanted" ] || continue
        python=$(command -v "$one")
        # Version managers put scripts before the interpreter that only work for the user who has them.
        python=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
        return 0
    done
    fail "there is no Python ${wanted:-3.11 or newer}" "on Debian: apt-get install python${wanted:-3}; or give --python PATH"
}

pick_version() {
    if [ -n "$bundle" ]; then
        open_bundle
        new=$(fact id)
    elif [ -n "$version" ]; then
        new=$version
    elif [ "$action" = upgrade ] || [ -z "$(id_of current)" ]; then
        new=index-$(date -u +%Y%m%dT%H%M%SZ)
    else
        # Nothing was asked for but that it be there.
        new=$(id_of current)
    fi
    case $new in '' | *[!A-Za-z0-9._+-]*) fail "version '$new' can't be the name of a folder" 'give --version 1.2.3' 2 ;; esac
}

build_version() {
    step="installing version $new"
    # A folder without its last file is what an earlier run left half done.
    if whole "$new"; then
        same "version $new is installed"
        return 0
    fi
    find_python
    what="version $new installed in $prefix/versions/$new, with $python"
    [ -z "$dry" ] || { changed "$what" && return 0; }
    step="installing version $new"
    home=$prefix/versions/$new
    building=$home
    rm -rf "$home"
    mkdir -p "$prefix/versions"
    if [ -n "$bundle" ]; then
        "$python" -m venv --without-pip "$home" 2>"$scratch/said" || fail "python -m venv failed: $(tail -n 1 "$scratch/said")" 'on Debian: apt-get install python3-venv'
        # pip runs out of its own wheel: what Debian leaves out of Python is not needed.
        set -- "$scratch"/bundle/agent/pip-*.whl
        PIP_NO_INDEX=1 PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS='' "$home/bin/python" "$1/pip" install --quiet --no-input --no-cache-dir --disable-pip-version-check \
            --no-compile --no-index --find-links "$scratch/bundle/agent" "$(fact package)" pip >"$scratch/said" 2>&1 ||
            fail "pip can't install from the bundle: $(tail -n 1 "$scratch/said")" 'make the bundle anew for this Python and machine'
        # The agent's user can't write here: what is not compiled now would be compiled at every start. pip itself runs seldom.
        "$home/bin/python" -m compileall -q -x '/site-packages/pip/' "$home/lib" >/dev/null 2>&1 || true
    else
        "$python" -m venv "$home" 2>"$scratch/said" || fail "python -m venv failed: $(tail -n 1 "$scratch/said")" 'on Debian: apt-get install python3-venv'
        "$home/bin/python" -m pip install --quiet --no-input --disable-pip-version-check ${index_url:+--index-url "$index_url"} \
            "$package${version:+==$version}" >"$scratch/said" 2>&1 ||
            fail "pip can't install $package: $(tail -n 1 "$scratch/said")" 'look at the network and the name; without a network use --bundle'
    fi
    "$home/bin/python" -c 'import circinus; print(circinus.__version__)' >"$home/.version" 2>"$scratch/said" || fail "what was installed can't be imported: $(tail -n 1 "$scratch/said")" 'the version is broken; choose another'
    : >"$home/.complete"
    changed "$what"
}

put_wheels() {
    [ -n "$bundle" ] || return 0
    step="putting operators' wheels into place"
    more=0
    for wheel in "$scratch"/bundle/wheels/*.whl; do
        [ -f "$wheel" ] || continue
        there=$prefix/wheels/${wheel##*/}
        if [ -f "$there" ] && cmp -s "$wheel" "$there"; then continue; fi
        more=$((more + 1))
        [ -z "$dry" ] || continue
        mkdir -p "$prefix/wheels"
        cp "$wheel" "$there.part" && mv "$there.part" "$there"
    done
    if [ "$more" -gt 0 ]; then changed "$more wheels for operators in $prefix/wheels"; else same "operators' wheels"; fi
    [ -n "$dry" ] || digest_of "$bundle" >"$prefix/bundle.sha256"
}

link() { ln -s "$2" "$prefix/$1.new$$" && mv -fT "$prefix/$1.new$$" "$prefix/$1"; }

switch_to() {
    step="switching to version $1"
    now=$(id_of current)
    if [ "$now" = "$1" ]; then return 0; fi
    changed "current version: ${now:-none} -> $1"
    restart=1
    [ -z "$dry" ] || return 0
    [ -z "$now" ] || link previous "versions/$now"
    link current "versions/$1"
    [ -L "$prefix/bin" ] || link bin current/bin
}

# Versions that nobody goes back to.
tidy_versions() {
    for folder in "$prefix"/versions/*; do
        one=${folder##*/}
        if [ -d "$folder" ] && [ "$one" != "$(id_of current)" ] && [ "$one" != "$(id_of previous)" ]; then rm -rf "$folder"; fi
    done
}

# --- user, folders, files ------------------------------------------------------------------------------------------------

# put FILE SOURCE MODE OWNER: gives 1 if it was so already. By rename, so that nobody reads half a file.
put() {
    if [ -f "$1" ] && cmp -s "$2" "$1"; then return 1; fi
    changed "$1"
    [ -z "$dry" ] || return 0
    { cp "$2" "$1.part$$" && chmod "$3" "$1.part$$" && own "$4" "$1.part$$" && mv -f "$1.part$$" "$1"; } ||
        fail "$1 can't be written" 'look at the disk, and whether it is read-only'
}

make_user() {
    step="making the user $user"
    if id "$user" >/dev/null 2>&1; then
        same "user $user"
        return 0
    fi
    [ "$me" = root ] || fail "there is no user $user, and $me can't make one" 'run this as root, or give --user'
    changed "user $user"
    [ -z "$dry" ] || return 0
    if command -v useradd >/dev/null; then
        useradd --system --home-dir "$state_dir" --no-create-home --shell /usr/sbin/nologin "$user"
    else
        adduser -S -D -H -h "$state_dir" -s /sbin/nologin "$user"
    fi
}

make_folder() {
    if [ -d "$1" ]; then return 0; fi
    changed "folder $1"
    [ -z "$dry" ] || return 0
    mkdir -p "$1" 2>"$scratch/said" || fail "$1 can't be made: $(cat "$scratch/said")" 'run this as root, or choose another place'
    chmod "$2" "$1"
    own "$3" "$1"
}

group() { id -gn "$user" 2>/dev/null || echo "$user"; }

make_folders() {
    step='making folders'
    make_folder "$config_dir" 750 "$(id -un):$(group)"
    make_folder "$state_dir" 700 "$user:$(group)"
    make_folder "$prefix/libexec" 755 "$me"
    [ "$service" = plain ] || return 0
    make_folder "$run_dir" 755 "$me"
    # Root's: what the agent's user owns could lead root's log to any file.
    make_folder "$log_dir" 750 "$me:$(group)"
}

remember() {
    step='writing down where everything is'
    printf 'prefix=%s\nconfig_dir=%s\nstate_dir=%s\nunit_dir=%s\nrun_dir=%s\nlog_dir=%s\nuser=%s\nservice=%s\n' \
        "$prefix" "$config_dir" "$state_dir" "$unit_dir" "$run_dir" "$log_dir" "$user" "$service" >"$scratch/install.env"
    put "$prefix/install.env" "$scratch/install.env" 644 "$me" || true
    if [ -f "$0" ] && [ "$0" != "$prefix/libexec/install.sh" ]; then put "$prefix/libexec/install.sh" "$0" 755 "$me" || true; fi
    [ -n "$dry" ] || put "$prefix/libexec/supervise" "$prefix/current/share/circinus/supervise" 755 "$me" || true
}

first_wheel() { for one in "$scratch"/bundle/wheels/*.whl; do echo "$one" && break; done; }

write_config() {
    step='writing the configuration'
    wheels=''
    if [ -d "$prefix/wheels" ] || [ -f "$(first_wheel)" ]; then wheels=$prefix/wheels; fi
    if [ -n "$config" ]; then
        [ -f "$config" ] || fail "there is no configuration $config" 'give the path of a TOML file'
        cp "$config" "$scratch/agent.toml"
    elif [ -n "$template" ]; then
        [ -f "$template" ] || fail "there is no template $template" 'give the path of a TOML file with @DEVICE@ and so on'
        sed -e "s|@DEVICE@|$device|g" -e "s|@PLANNER@|$planner|g" -e "s|@TIER@|$tier|g" -e "s|@SITE@|$site|g" \
            -e "s|@STATE_DIR@|$state_dir|g" -e "s|@WHEELS@|$wheels|g" "$template" >"$scratch/agent.toml"
    elif [ -n "$device" ]; then
        [ -n "$planner" ] || fail '--planner is missing' 'give HOST:PORT of the planner' 2
        {
            echo '# Written by install.sh. Edit it as you like: it is then left alone.'
            printf 'device_id = "%s"\nplanner = "%s"\n' "$device" "$planner"
            [ -z "$enrol" ] || printf 'enrol = "%s"\n' "$enrol"
            printf 'state_dir = "%s"\ntier = "%s"\nsite = "%s"\n' "$state_dir" "${tier:-edge}" "${site:-default}"
            [ -z "$wheels" ] || printf 'wheels = "%s"\n' "$wheels"
            printf '%s' "$settings"
            [ -z "$labels" ] || printf '\n[labels]\n%s' "$labels"
        } >"$scratch/agent.toml"
    elif [ -f "$live_config" ]; then
        same "$live_config"
        return 0
    else
        fail "there is no $live_config" 'give --device, --planner, --tier and --site, or --config FILE, or --template FILE' 2
    fi
    if [ -f "$live_config" ] && ! cmp -s "$scratch/agent.toml" "$live_config" && [ -z "$force_config" ] &&
        [ "$(cat "$prefix/config.sha256" 2>/dev/null)" != "$(digest_of "$live_config")" ]; then
        fail "$live_config was edited here, and differs from what was asked for" 'leave the configuration flags out to keep it, or give --force-config'
    fi
    if [ -z "$dry" ]; then
        # Read by the version that will run it, before anything is replaced; relative paths start at the real folder.
        "$prefix/versions/$new/bin/python" -c '
import pathlib, sys
from circinus.errors import CircinusError
from edge_agent.config import parse_config
try:
    found = parse_config(pathlib.Path(sys.argv[1]).read_text(), filename=sys.argv[2], folder=pathlib.Path(sys.argv[2]).parent)
except CircinusError as error:
    sys.exit(str(error))
if found.state_dir != pathlib.Path(sys.argv[3]):
    sys.exit(f"state_dir is {found.state_dir}; the box was given {sys.argv[3]} (--state-dir)")
' "$scratch/agent.toml" "$live_config" "$state_dir" 2>"$scratch/said" || fail "the configuration can't be used: $(cat "$scratch/said")" 'mend what it names; the one that was there is untouched'
    fi
    if put "$live_config" "$scratch/agent.toml" 640 "$me:$(group)"; then restart=1; else same "$live_config"; fi
    [ -n "$dry" ] || digest_of "$live_config" >"$prefix/config.sha256"
}

join() {
    step='enrolling with the planner'
    if insecure; then
        same 'no identity: insecure_loopback'
        return 0
    fi
    name=$(device_of)
    [ -n "$name" ] || name=$device
    # A box that is given another name needs another identity.
    if enrolled && [ -z "$rejoin" ] && [ "$(cat "$prefix/enrolled-as" 2>/dev/null || echo "$name")" = "$name" ]; then
        same "enrolled as $name"
        return 0
    fi
    [ -n "$token_file" ] || [ -n "$dry" ] || fail "installed, and not enrolled: no token was given" "on the planner: cloud-planner token create --device $name; then run this again with --token-file FILE (or -)"
    changed "enrolled as ${name:-the configured device}"
    restart=1
    [ -z "$dry" ] || return 0
    if [ "$token_file" = - ]; then
        cat >"$scratch/token"
    else
        cat "$token_file" >"$scratch/token" 2>/dev/null || fail "token file $token_file can't be read" 'give a file with the one line that token create printed, or -'
    fi
    [ -s "$scratch/token" ] || fail 'the token is empty' 'give the one line that token create printed'
    as_user "$prefix/bin/edge-agent" join --config "$live_config" --token-file - <"$scratch/token" >"$scratch/said" 2>&1 ||
        fail "it can't enrol: $(tail -n 3 "$scratch/said")" 'a token is good once and for a while: make another on the planner; look at the address and the clock'
    rm -f "$scratch/token"
    echo "$name" >"$prefix/enrolled-as"
}

# --- the service ---------------------------------------------------------------------------------------------------------

install_units() {
    [ "$service" = systemd ] || return 0
    step='installing the units'
    for name in edge-agent circinus-settle; do
        source=$prefix/current/share/circinus/$name.service
        [ -z "$dry" ] || [ -f "$source" ] || { changed "$unit_dir/$name.service" && continue; }
        sed -e "s|/opt/circinus|$prefix|g" -e "s|/etc/circinus/agent.toml|$live_config|g" -e "s|^User=circinus$|User=$user|" -e "s|^Group=circinus$|Group=$(group)|" "$source" >"$scratch/unit"
        # Systemd makes the folders of these names below /var/lib and /etc; others are named to it.
        [ "$state_dir" = /var/lib/circinus ] || sed -i -e "s|^StateDirectory=circinus$|ReadWritePaths=$state_dir|" -e '/^StateDirectoryMode=/d' "$scratch/unit"
        [ "$config_dir" = /etc/circinus ] || sed -i '/^ConfigurationDirectory/d' "$scratch/unit"
        if put "$unit_dir/$name.service" "$scratch/unit" 644 "$me"; then restart=1; else same "$unit_dir/$name.service"; fi
    done
    [ -n "$dry" ] || systemctl daemon-reload
    if ! systemctl is-enabled --quiet edge-agent 2>/dev/null; then
        changed 'edge-agent starts at boot'
        [ -n "$dry" ] || systemctl enable --quiet edge-agent circinus-settle
    fi
}

start_plain() { setsid "$prefix/libexec/supervise" "$prefix" </dev/null >/dev/null 2>&1 & }

start_service() {
    case $service in
    # Not waited for here: whether it stands is looked at either way.
    systemd) systemctl restart --no-block edge-agent || true ;;
    plain)
        found=$(supervisor_pid)
        if [ -n "$found" ]; then kill -HUP "$found"; else start_plain; fi
        ;;
    esac
}

stop_service() {
    case $service in
    systemd) systemctl disable --now --quiet edge-agent circinus-settle 2>/dev/null || true ;;
    plain)
        found=$(supervisor_pid)
        [ -n "$found" ] || return 0
        kill -TERM "$found"
        waited=0
        while alive "$found"; do
            waited=$((waited + 1))
            [ "$waited" -lt 200 ] || { kill -KILL "$found" || true; }
            sleep 0.2
        done
        ;;
    esac
}

# A new process came, and is gone again.
fallen() {
    case $service in
    systemd) case $(systemctl show -p SubState --value edge-agent 2>/dev/null) in auto-restart | failed) return 0 ;; *) return 1 ;; esac ;;
    esac
    one=$(cat "$run_dir/agent.pid" 2>/dev/null || true)
    [ -n "$one" ] && [ "$one" != "$1" ] && ! alive "$one"
}

# A new process runs, as the version that it should, and is the same one a moment later. The one before may take a while
# to end.
stands() {
    tries=0
    while [ "$tries" -lt 180 ]; do
        tries=$((tries + 1))
        first=$(agent_pid)
        if [ -n "$first" ] && [ "$first" != "$1" ] && [ "$(running_id)" = "$(id_of current)" ]; then
            sleep 1.5
            [ "$(agent_pid)" = "$first" ] && return 0
            return 1
        fi
        if fallen "$1"; then return 1; fi
        sleep 0.25
    done
    return 1
}

last_words() {
    case $service in
    systemd) journalctl -u edge-agent -n 5 --no-pager -o cat 2>/dev/null || true ;;
    plain) tail -n 5 "$log_dir/agent.log" 2>/dev/null || true ;;
    esac
}

run_service() {
    [ "$service" != none ] || return 0
    step='starting the agent'
    if [ -z "$restart" ] && [ -n "$(agent_pid)" ] && [ "$(running_id)" = "$(id_of current)" ]; then
        same "the agent runs (process $(agent_pid), $service)"
        return 0
    fi
    changed "the agent started ($service)"
    [ -z "$dry" ] || return 0
    was=$(agent_pid)
    start_service
    if stands "$was"; then return 0; fi
    words=$(last_words)
    if [ -n "$(id_of previous)" ] && [ "$(id_of previous)" != "$(id_of current)" ] && [ -n "$switched" ]; then
        take_back 'it did not stay up'
        start_service
        fail "version $new does not stay up; $(id_of current) runs again. Its last words: $words" 'look into the new version'
    fi
    fail "the agent does not stay up. Its last words: $words" "run: $prefix/bin/edge-agent check --config $live_config"
}

# --- upgrades --------------------------------------------------------------------------------------------------------------

entry() { sed -n "s/^$1=//p" "$pending" 2>/dev/null || true; }

arm() {
    printf 'from=%s\nto=%s\nboot=%s\ndeadline_s=%s\n' "$(id_of current)" "$new" "$(boot_id)" "$(($(uptime_s) + confirm_within_s))" >"$pending.part"
    mv "$pending.part" "$pending"
    sync "$pending" 2>/dev/null || true
    # The one who sleeps must outlive this shell, and the session that it came by.
    if [ "$service" = systemd ]; then
        systemd-run --quiet --collect --unit "circinus-upgrade-$(uptime_s)" "$prefix/libexec/install.sh" --watch --prefix "$prefix"
    else
        setsid "$prefix/libexec/install.sh" --watch --prefix "$prefix" </dev/null >/dev/null 2>&1 &
    fi
}

take_back() {
    back=$(entry from)
    [ -n "$back" ] || back=$(id_of previous)
    bad=$(id_of current)
    whole "$back" || fail "version '$back' to go back to is not whole" 'install one: install.sh --bundle FILE'
    link current "versions/$back"
    rm -f "$prefix/previous"
    rm -f "$pending"
    printf 'result=rolled back\nfrom=%s\nto=%s\nreason=%s\n' "$bad" "$back" "$1" >"$prefix/upgrade.last"
    said changed "rolled back: $bad -> $back ($1)"
}

upgrade() {
    [ -n "$(id_of current)" ] || fail 'nothing is installed here that could be upgraded' 'leave --upgrade out'
    [ ! -f "$pending" ] || fail "an upgrade to $(entry to) waits to be confirmed" "install.sh --confirm, or --roll-back"
    pick_version
    build_version
    put_wheels
    if [ -z "$dry" ] && [ -z "$bundle$version" ] && [ "$(version_of "$new")" = "$(version_of "$(id_of current)")" ]; then
        rm -rf "$prefix/versions/$new"
        new=$(id_of current)
        changes=0
    fi
    if [ "$new" = "$(id_of current)" ]; then
        same "version $new is current"
        return 0
    fi
    [ -n "$dry" ] || remember
    [ -z "$confirm_within_s" ] || [ -n "$dry" ] || arm
    switch_to "$new"
    switched=1
    [ -n "$dry" ] || remember
    install_units
    run_service
    if [ -n "$confirm_within_s" ]; then
        said waiting "for --confirm, ${confirm_within_s} s; else $(id_of previous) comes back"
    elif [ -z "$dry" ]; then
        tidy_versions
    fi
}

confirm() {
    if [ ! -f "$pending" ]; then
        [ ! -f "$prefix/upgrade.last" ] || grep -q '^result=confirmed' "$prefix/upgrade.last" || fail "there is nothing to confirm: $(sed -n 's/^reason=/rolled back, /p' "$prefix/upgrade.last")" 'upgrade again'
        same 'no upgrade waits'
        return 0
    fi
    changed "version $(entry to) stays"
    [ -z "$dry" ] || return 0
    printf 'result=confirmed\nfrom=%s\nto=%s\nreason=\n' "$(entry from)" "$(entry to)" >"$prefix/upgrade.last"
    rm -f "$pending"
    tidy_versions
}

roll_back() {
    if [ ! -f "$pending" ] && [ -z "$(id_of previous)" ]; then
        same 'there is nothing to go back from'
        return 0
    fi
    [ -z "$dry" ] || { changed "back to $(id_of previous)" && return 0; }
    restart=1
    take_back "${1:-it was asked for}"
    changes=$((changes + 1))
    [ "$service" = none ] || start_service
}

# At boot: a version on trial that the box went down with is taken back, before it starts again.
settle() {
    [ -f "$pending" ] || return 0
    [ "$(entry boot)" != "$(boot_id)" ] || [ "$(uptime_s)" -ge "$(entry deadline_s)" ] || return 0
    take_back 'it was not confirmed before the box went down'
}

watch() {
    while [ -f "$pending" ] && [ "$(uptime_s)" -lt "$(entry deadline_s)" ]; do sleep 1; done
    [ -f "$pending" ] || return 0
    guard
    [ ! -f "$pending" ] || roll_back 'nobody confirmed it in time'
}

# --- the rest ----------------------------------------------------------------------------------------------------------------

yes_no() { if "$@"; then echo true; else echo false; fi; }

status() {
    now=$(id_of current) run=$(agent_pid)
    result=$(sed -n 's/^result=//p' "$prefix/upgrade.last" 2>/dev/null || true)
    printf '{"installed": %s, "version": "%s", "id": "%s", "previous": "%s", "service": "%s", "running": %s, "pid": %s, "running_id": "%s", "enrolled": %s, "device": "%s", "bundle": "%s", "pending": "%s", "last_upgrade": "%s"}\n' \
        "$(yes_no [ -n "$now" ])" "$(version_of "$now")" "$now" "$(id_of previous)" "$service" "$(yes_no [ -n "$run" ])" "${run:-0}" \
        "$(running_id)" "$(yes_no enrolled)" "$(device_of)" "$(cat "$prefix/bundle.sha256" 2>/dev/null || true)" "$(entry to)" "$result"
}

check() {
    bad=0
    if [ -z "$(id_of current)" ]; then
        [ -z "$bundle" ] || { scratch=$(mktemp -d) && trap ended EXIT && open_bundle; }
        find_python
        said ok "python: $python"
        above=$prefix
        while [ ! -d "$above" ]; do above=$(dirname "$above"); done
        free_mb=$(df -Pm "$above" | awk 'NR == 2 { print $4 }')
        if [ "$free_mb" -ge 400 ]; then said ok "disk: $free_mb MB free for $prefix"; else said failed "disk: $free_mb MB free for $prefix; 400 are needed" && bad=1; fi
        if [ "$me" = root ] || [ -w "$above" ]; then said ok "may write to $above"; else said failed "$above can't be written: run this as root" && bad=1; fi
        said ok "the service would be: $service"
        return "$bad"
    fi
    whole "$(id_of current)" || { said failed "version $(id_of current) is not whole: run install.sh again" && bad=1; }
    [ -f "$live_config" ] || { said failed "there is no $live_config" && return 1; }
    enrolled || insecure || { said failed 'not enrolled: run install.sh with --token-file' && bad=1; }
    [ "$service" = none ] || [ -n "$(agent_pid)" ] || { said failed "the agent does not run: run install.sh again" && bad=1; }
    as_user "$prefix/bin/edge-agent" check --config "$live_config" || bad=1
    return "$bad"
}

leave() {
    step='leaving'
    if [ -n "$(agent_pid)" ] || [ -n "$(supervisor_pid)" ]; then
        changed 'the agent stopped'
        [ -n "$dry" ] || stop_service
    fi
    if [ -d "$state_dir/identity" ]; then
        changed 'the identity of this box removed'
        [ -n "$dry" ] || rm -rf "$state_dir/identity" "$prefix/enrolled-as"
    fi
    [ "$changes" -gt 0 ] || same 'it has no identity, and does not run'
}

uninstall() {
    step='uninstalling'
    if [ -n "$(agent_pid)" ] || [ -n "$(supervisor_pid)" ]; then
        changed 'the agent stopped'
        [ -n "$dry" ] || stop_service
    fi
    if [ "$service" = systemd ]; then
        for name in edge-agent circinus-settle; do
            [ -f "$unit_dir/$name.service" ] || continue
            changed "$unit_dir/$name.service removed"
            [ -n "$dry" ] || { systemctl disable --quiet "$name" 2>/dev/null || true && rm -f "$unit_dir/$name.service"; }
        done
        [ -n "$dry" ] || systemctl daemon-reload
    fi
    # Only what is known to be ours: a prefix may be a folder with other things in it.
    for name in versions current previous bin wheels libexec install.env config.sha256 bundle.sha256 enrolled-as upgrade.pending upgrade.last; do
        if [ -e "$prefix/$name" ] || [ -L "$prefix/$name" ]; then
            changed "$prefix/$name removed"
            [ -n "$dry" ] || rm -rf "${prefix:?}/$name"
        fi
    done
    if [ -n "$purge" ]; then
        for folder in "$config_dir" "$state_dir" "$log_dir"; do
            [ -d "$folder" ] || continue
            changed "$folder removed"
            [ -n "$dry" ] || rm -rf "$folder"
        done
        if [ "$user" = circinus ] && [ "$me" = root ] && id circinus >/dev/null 2>&1; then
            changed 'user circinus removed'
            [ -n "$dry" ] || userdel circinus 2>/dev/null || deluser circinus
        fi
    fi
    if [ -z "$dry" ]; then
        rm -rf "$prefix/.lock" && lock=''
        rmdir "$prefix" "$run_dir" 2>/dev/null || true
    fi
    [ "$changes" -gt 0 ] || same 'nothing of it is here'
    [ -n "$purge" ] || [ ! -d "$state_dir" ] || said kept "$config_dir and $state_dir; --purge removes them, with the identity"
}

install() {
    pick_version
    make_user
    build_version
    put_wheels
    make_folders
    write_config
    [ "$(id_of current)" = "$new" ] || [ -z "$(id_of current)" ] || switched=1
    switch_to "$new"
    remember
    join
    install_units
    run_service
    [ -n "$dry" ] || tidy_versions
}

restart='' switched='' new=''
case $action in
status) status && exit 0 ;;
check) check && exit 0 || exit 1 ;;
watch) watch && exit 0 ;;
settle) settle && exit 0 ;;
esac
guard
"$action"
step='ending'
# For programs: the last line.
if [ -n "$dry" ]; then
    echo "result: would change $changes"
else
    echo "result: changed $changes"
fi
