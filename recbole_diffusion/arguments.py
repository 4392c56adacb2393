"""Arguments of the commands that ``argparse`` reads."""

import argparse
from typing import NoReturn

from recbole_diffusion.errors import UserError


class ArgumentParser(argparse.ArgumentParser):
    """Tells of a wrong argument on one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{message}; {self.prog} --help lists the arguments")
