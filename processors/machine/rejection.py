"""Why a command was not carried out: an S3 error code. The gateway knows each code's status and usual message."""


class Rejected(Exception):
    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message
