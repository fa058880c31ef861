"""The daemon on each device."""

import os

# gRPC writes lines of its own about every handshake that fails; events say what matters.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
