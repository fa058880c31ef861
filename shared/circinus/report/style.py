"""The look of a report."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d5dbe3; --ground: #fbfcfd; --tile: #f0f3f7;
  --good: #0b6b3a; --bad: #a3231c; --bar: #a9c3e6; --mark: #1f4e8c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9f0; --soft: #a3afbf; --line: #36414f; --ground: #12171e;
  --tile: #1b222c; --good: #6fd39b; --bad: #ff9a91; --bar: #3b5c8a; --mark: #9cc3f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.2rem 0 .4rem; font-size: 1.25rem; } h3 { font-size: 1rem; }
p, li { max-width: 62rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin-top: 1rem; }
.tile { background: var(--tile); border-radius: .5rem; padding: .7rem .9rem; display: flex; flex-direction: column; }
.tile strong { font-size: 1.25rem; } .name, .beside, caption { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; margin: .6rem 0; }
caption { text-align: left; padding-bottom: .2rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; } .number { text-align: right; font-variant-numeric: tabular-nums; }
.badge { font-size: .78rem; padding: 0 .4rem; border: 1px solid currentColor; border-radius: .6rem;
  color: var(--soft); } .badge.good { color: var(--good); } .badge.bad { color: var(--bad); }
del { color: var(--soft); } ins { text-decoration: none; font-weight: 600; }
svg { max-width: 44rem; width: 100%; height: auto; font-size: 11px; } svg.square { max-width: 17rem; }
svg text { fill: var(--ink); } .bar { fill: var(--bar); } .mean { stroke: var(--mark); stroke-width: 2; }
.inside { fill: var(--mark); } .outside { fill: var(--ground); stroke: var(--bad); stroke-width: 2; }
.frame { fill: none; stroke: var(--line); } .diagonal { stroke: var(--soft); stroke-dasharray: 4 3; }
@media print { body { font-size: 11px; } main { max-width: none; padding: 0; } section { break-inside: avoid-page; } }
"""
