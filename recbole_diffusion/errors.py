"""The one error type for what a user can cause."""


class UserError(ValueError):
    """Bad input: the message names the file, field or key, what was found and what was expected.

    The command line prints it as one paragraph and exits with code 2.
    """
