"""What whoever runs a command has written wrongly."""


class WrongInput(Exception):
    """The message names what is wrong and what to do; the command ends with exit code 2."""
