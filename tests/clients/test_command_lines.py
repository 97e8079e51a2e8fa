"""aws cli and rclone against a running store, as a person uses them."""

import os
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path

import pytest

from tests.server import ACCESS_KEY, REGION, SECRET_KEY, Server

pytestmark = pytest.mark.clients
SIZES = {"empty": 0, "one": 1, "page": 4096, "part": 5 << 20, "large": 100 << 20}
NAMES = ["plain", "with space", "ünï/çødé", "per%cent", "plus+plus", "a/b/c/deep", "quote'\"&<>", "tilde~(1)!"]


@pytest.fixture
def bucket(server: Server) -> str:
    name = f"cli-{uuid.uuid4().hex[:12]}"
    server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for name, size in SIZES.items():
        _write(source / "sizes" / name, size)
    for number, name in enumerate(NAMES):
        _write(source / name, 10 + number)
    return source


def _write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))


def aws(server: Server, *arguments: str) -> str:
    return _run(server, "aws", "--endpoint-url", server.endpoint, *arguments)


def rclone(server: Server, *arguments: str) -> str:
    remote = f":s3,provider=Other,env_auth,force_path_style,endpoint='{server.endpoint}':"
    filled = [each.replace("REMOTE:", remote) for each in arguments]
    return _run(server, "rclone", "--config", "/dev/null", "--retries", "1", *filled)


def _run(server: Server, program: str, *arguments: str) -> str:
    env = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same(left: Path, right: Path) -> bool:
    files = {each.relative_to(left) for each in left.rglob("*") if each.is_file()}
    assert files == {each.relative_to(right) for each in right.rglob("*") if each.is_file()}
    return all((left / each).read_bytes() == (right / each).read_bytes() for each in files)


def test_aws_cli(server: Server, tree: Path, tmp_path: Path) -> None:
    bucket = f"cli-{uuid.uuid4().hex[:12]}"
    aws(server, "s3", "mb", f"s3://{bucket}")
    aws(server, "s3", "sync", "--no-progress", str(tree), f"s3://{bucket}")
    aws(server, "s3", "sync", "--no-progress", f"s3://{bucket}", str(tmp_path / "back"))
    assert same(tree, tmp_path / "back")
    assert aws(server, "s3", "sync", "--no-progress", str(tree), f"s3://{bucket}") == ""  # nothing left to do
    listed = aws(server, "s3", "ls", f"s3://{bucket}/", "--recursive")
    assert len(listed.splitlines()) == len(SIZES) + len(NAMES)
    url = aws(server, "s3", "presign", f"s3://{bucket}/plain").strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == (tree / "plain").read_bytes()
    aws(server, "s3", "cp", "--no-progress", f"s3://{bucket}/sizes/part", f"s3://{bucket}/copy")
    aws(server, "s3", "rm", f"s3://{bucket}", "--recursive")
    aws(server, "s3", "rb", f"s3://{bucket}")


def test_rclone(server: Server, bucket: str, tree: Path, tmp_path: Path) -> None:
    rclone(server, "copy", str(tree), f"REMOTE:{bucket}")
    rclone(server, "check", str(tree), f"REMOTE:{bucket}")
    rclone(server, "sync", f"REMOTE:{bucket}", str(tmp_path / "back"))
    assert same(tree, tmp_path / "back")
    rclone(server, "purge", f"REMOTE:{bucket}")
