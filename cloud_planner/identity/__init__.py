"""Who is who: root, certificates, tokens, people, revocation, and the log of what was done and refused."""
