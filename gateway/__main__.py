"""`python -m gateway` and the command `gateway`."""

import signal


def main() -> None:
    """Run the command line. Until a command takes Ctrl-C for itself, it ends without a stack."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gateway.cli.main import main as run  # noqa: PLC0415  # imports take most of the start

    run()


if __name__ == "__main__":
    main()
