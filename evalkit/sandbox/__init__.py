"""Where untrusted programs run, by name. Every entry keeps the promises of `checks.py`."""

SANDBOXES = {
    "process": "evalkit.sandbox.process:open_process_sandbox",
    "docker": "evalkit.sandbox.docker:open_docker_sandbox",
    "runsc": "evalkit.sandbox.docker:open_runsc_sandbox",
}
