# A bucket is a folder of the filer below /buckets; one that is there stays as it is.
set -eu
filer=${FILER:-http://object-store:8888}
until wget -q -O /dev/null "$filer/?limit=1"; do sleep 2; done
for bucket in $BUCKETS; do
    if ! wget -q -O /dev/null "$filer/buckets/$bucket/?limit=1"; then
        # A content type would make the filer look for a file in the request.
        wget -q -O /dev/null --header 'Content-Type:' --post-data '' "$filer/buckets/$bucket/"
    fi
    printf 'bucket %s is there\n' "$bucket"
done
