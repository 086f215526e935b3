"""Where untrusted programs run, by name. Both entries keep the promises of `checks.py`."""

SANDBOXES = {
    "process": "evalkit.sandbox.process:open_process_sandbox",
    "docker": "evalkit.sandbox.docker:open_docker_sandbox",
}
