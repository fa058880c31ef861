"""The `circinus` command."""

import os

# gRPC writes lines of its own about handshakes on stderr; what went wrong is said once, by the command.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
