"""Why a command was not carried out: an S3 error code. The gateway knows each code's status and usual message."""


class Rejected(Exception):
    def __init__(self, code: str, message: str = "", **details: object) -> None:
        """`details`: what failed, in the names of S3's error documents."""
        super().__init__(code)
        self.code = code
        self.message = message
        self.details = {name: str(value) for name, value in details.items()}
