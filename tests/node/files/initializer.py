#!/usr/bin/python3
"""Fetches a model as the storage initializer of Seldon does, from an object store that speaks S3: initializer.py s3://BUCKET/PATH FOLDER

Where it is and who asks stands in the variables that rclone reads (https://rclone.org/docs/#environment-variables).
"""

import os
import pathlib
import sys
import urllib.parse

import boto3

uri, folder = urllib.parse.urlsplit(sys.argv[1]), pathlib.Path(sys.argv[2])
of = {name.removeprefix("RCLONE_CONFIG_S3_"): value for name, value in os.environ.items()}
store = boto3.client(
    "s3",
    endpoint_url=of["ENDPOINT"],
    aws_access_key_id=of["ACCESS_KEY_ID"],
    aws_secret_access_key=of["SECRET_ACCESS_KEY"],
    region_name="us-east-1",
)
prefix = uri.path.strip("/") + "/"
pages = store.get_paginator("list_objects_v2").paginate(Bucket=uri.netloc, Prefix=prefix)
keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
if not keys:
    sys.exit(f"nothing is stored at {sys.argv[1]}")
for key in keys:
    file = folder / key.removeprefix(prefix)
    file.parent.mkdir(parents=True, exist_ok=True)
    store.download_file(uri.netloc, key, str(file))
    print(file, file.stat().st_size)
