"""The planner: decides what runs where, and has it done."""

import os

# Its matrices are small: threads of linear algebra would spend ten times as long waiting for each other as they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# gRPC writes lines of its own about every handshake that fails; events say what matters.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
