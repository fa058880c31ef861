"""What keeps an operator's process to itself: limits, system calls, files, network. See docs/isolation.md."""
