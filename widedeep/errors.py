"""The errors a user can mend."""


class InputError(ValueError):
    """Something given to the pipeline is wrong; the message names it, what was found and wanted.

    The command line ends with exit status 2 on it, and nothing has been changed by then.
    """
