"""The one place that maps a failure to its S3 error: code, HTTP status, message, details (S3 API: Error Responses).

S3Error            what a client did, or asks for: answered with its code
RecordTooLarge     what a client sent makes a command that no log takes: 400, nothing was done
LogError, OSError  the log or a disk cannot be written: 503 ServiceUnavailable, nothing acknowledged
NoRoom             the disks are full: the same, and it says so
ReadUnavailable    no owner of the metadata answers: 503 ServiceUnavailable
BlobUnavailable    bytes are damaged or missing: 500 InternalError, never a wrong byte
anything else      a bug: 500 InternalError, with the request id in the log

Messages are S3's own words, for clients decide by some of them; what S3 does not have is told in ours.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from datanode.node import BlobUnavailable, NoRoom
from processors.reads import ReadUnavailable
from topics.log import LogError, RecordTooLarge


class Meaning(NamedTuple):
    status: int
    message: str
    of_request: tuple[str, ...] = ()  # details that a request's address has: see `error_document`


_BUCKET = ("BucketName",)
_TABLE: dict[str, Meaning] = {
    "AccessDenied": Meaning(403, "Access Denied"),
    "AccessForbidden": Meaning(403, "CORSResponse: CORS is not enabled for this bucket."),
    "AuthorizationHeaderMalformed": Meaning(400, "The authorization header you provided is invalid."),
    "AuthorizationQueryParametersError": Meaning(
        400,
        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
        "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
    ),
    "BadDigest": Meaning(400, "The Content-MD5 you specified did not match what we received."),
    "BadRequest": Meaning(400, "An error occurred when parsing the HTTP request."),
    "BucketAlreadyExists": Meaning(
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please "
        "select a different name and try again.",
        _BUCKET,
    ),
    "BucketAlreadyOwnedByYou": Meaning(
        409, "Your previous request to create the named bucket succeeded and you already own it.", _BUCKET
    ),
    "BucketNotEmpty": Meaning(409, "The bucket you tried to delete is not empty", _BUCKET),
    "EntityTooLarge": Meaning(400, "Your proposed upload exceeds the maximum allowed size"),
    "EntityTooSmall": Meaning(400, "Your proposed upload is smaller than the minimum allowed size"),
    "IllegalLocationConstraintException": Meaning(
        400,
        "The specified location constraint is incompatible for the region specific endpoint this request was sent to.",
    ),
    "IncompleteBody": Meaning(400, "You did not provide the number of bytes specified by the Content-Length HTTP header"),
    "InternalError": Meaning(500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": Meaning(403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": Meaning(400, "Invalid Argument"),
    "InvalidBucketName": Meaning(400, "The specified bucket is not valid.", _BUCKET),
    "InvalidBucketOwnerAWSAccountID": Meaning(
        400, "The value of the expected bucket owner parameter must be an AWS account ID."
    ),
    "InvalidDigest": Meaning(400, "The Content-MD5 you specified was invalid."),
    "InvalidLocationConstraint": Meaning(400, "The specified location-constraint is not valid"),
    "InvalidPart": Meaning(
        400,
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified "
        "entity tag may not match the part's entity tag.",
        ("UploadId",),
    ),
    "InvalidPartNumber": Meaning(416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": Meaning(
        400, "The list of parts was not in ascending order. Parts must be ordered by part number.", ("UploadId",)
    ),
    "InvalidPolicyDocument": Meaning(
        400, "The content of the form does not meet the conditions specified in the policy document."
    ),
    "InvalidRange": Meaning(416, "The requested range is not satisfiable"),
    "InvalidRedirectLocation": Meaning(
        400, "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."
    ),
    "InvalidRequest": Meaning(400, "Invalid Request"),
    "InvalidStorageClass": Meaning(400, "The storage class you specified is not valid"),
    "InvalidToken": Meaning(400, "The provided token is malformed or otherwise invalid."),
    "InvalidURI": Meaning(400, "Couldn't parse the specified URI.", ("URI",)),
    "KeyTooLongError": Meaning(400, "Your key is too long"),
    "MalformedPOSTRequest": Meaning(400, "The body of your POST request is not well-formed multipart/form-data."),
    "MalformedTrailerError": Meaning(
        400, "The request contained trailing data that was not well-formed or did not conform to our published schema."
    ),
    "MalformedXML": Meaning(
        400, "The XML you provided was not well-formed or did not validate against our published schema"
    ),
    "MaxMessageLengthExceeded": Meaning(400, "Your request was too big."),
    "MaxPostPreDataLengthExceeded": Meaning(400, "Your POST request fields preceding the upload file were too large."),
    "MetadataTooLarge": Meaning(400, "Your metadata headers exceed the maximum allowed metadata size"),
    "MethodNotAllowed": Meaning(
        405, "The specified method is not allowed against this resource.", ("Method", "ResourceType")
    ),
    "MissingContentLength": Meaning(411, "You must provide the Content-Length HTTP header."),
    "MissingSecurityHeader": Meaning(400, "Your request was missing a required header"),
    "NoSuchBucket": Meaning(404, "The specified bucket does not exist", _BUCKET),
    "NoSuchBucketPolicy": Meaning(404, "The bucket policy does not exist", _BUCKET),
    "NoSuchCORSConfiguration": Meaning(404, "The CORS configuration does not exist", _BUCKET),
    "NoSuchKey": Meaning(404, "The specified key does not exist.", ("Key",)),
    "NoSuchLifecycleConfiguration": Meaning(404, "The lifecycle configuration does not exist", _BUCKET),
    "NoSuchPublicAccessBlockConfiguration": Meaning(404, "The public access block configuration was not found", _BUCKET),
    "NoSuchTagSet": Meaning(404, "The TagSet does not exist", _BUCKET),
    "NoSuchUpload": Meaning(
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
        ("UploadId",),
    ),
    "NoSuchVersion": Meaning(404, "The specified version does not exist.", ("Key", "VersionId")),
    "NoSuchWebsiteConfiguration": Meaning(404, "The specified bucket does not have a website configuration", _BUCKET),
    "NotImplemented": Meaning(501, "A header you provided implies functionality that is not implemented"),
    "NotModified": Meaning(304, "Not Modified"),
    "ObjectLockConfigurationNotFoundError": Meaning(
        404, "Object Lock configuration does not exist for this bucket", _BUCKET
    ),
    "OwnershipControlsNotFoundError": Meaning(404, "The bucket ownership controls were not found", _BUCKET),
    "PreconditionFailed": Meaning(412, "At least one of the pre-conditions you specified did not hold"),
    "ReplicationConfigurationNotFoundError": Meaning(404, "The replication configuration was not found", _BUCKET),
    "RequestHeaderSectionTooLarge": Meaning(400, "Your request header section exceeds the maximum allowed size."),
    "RequestTimeTooSkewed": Meaning(403, "The difference between the request time and the current time is too large."),
    "RequestTimeout": Meaning(
        400,
        "Your socket connection to the server was not read from or written to within the timeout period. Idle connections "
        "will be closed.",
    ),
    "ServerSideEncryptionConfigurationNotFoundError": Meaning(
        404, "The server side encryption configuration was not found", _BUCKET
    ),
    "ServiceUnavailable": Meaning(503, "Service is unable to handle the request. Whether it was carried out is not known."),
    "SignatureDoesNotMatch": Meaning(
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    ),
    "SlowDown": Meaning(503, "Please reduce your request rate."),
    "XAmzContentSHA256Mismatch": Meaning(
        400, "The provided 'x-amz-content-sha256' header does not match what was computed."
    ),
}
_UNKNOWN = Meaning(500, "We encountered an internal error.")


class S3Error(Exception):
    """Raised anywhere in the gateway to answer with this S3 error."""

    def __init__(self, code: str, message: str = "", headers: Sequence[tuple[str, str]] = (), /, **details: Any) -> None:
        """`details`: elements of the error document beside those that the request's address has, in S3's names."""
        super().__init__(code)
        self.code = code
        self.headers = list(headers)  # of the answer, beside the error document
        self.details = details
        self.status, usual, self.of_request = _TABLE.get(code, _UNKNOWN)
        self.message = message or usual


def invalid_argument(name: str, value: object, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


def as_s3_error(error: Exception) -> S3Error:
    """What a client is told of any failure; nothing of the inside of the server is in it."""
    match error:
        case S3Error():
            return error
        case RecordTooLarge():
            return S3Error("MaxMessageLengthExceeded")
        case NoRoom():
            return S3Error("ServiceUnavailable", "There is no room for the object's data: this store's disks are full.")
        case LogError() | OSError() | ReadUnavailable():
            return S3Error("ServiceUnavailable")
        case BlobUnavailable():
            return S3Error("InternalError", "The object's data is damaged or not available.")
        case _:
            return S3Error("InternalError")
