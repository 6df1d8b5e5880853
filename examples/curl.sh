#!/bin/sh
# Hands in and follows a batch of one URL, without any code of Imagemill; needs buf (https://buf.build), and jq is handy.
#
#   ./curl.sh http://example.com/boat.jpg [HOST:PORT]
#
# The mill describes its API itself (server reflection). To use the published files instead, add: --schema protos
# With grpcurl it is: grpcurl -plaintext -d '{…}' HOST:PORT imagemill.v1.BatchService/CreateBatch
set -eu
url=${1:?usage: curl.sh URL [HOST:PORT]}
mill=http://${2:-127.0.0.1:50051}/imagemill.v1.BatchService
id=shell-$(date +%s)-$$

call() { # METHOD REQUEST
    buf curl --protocol grpc --http2-prior-knowledge --data "$2" "$mill/$1"
}

call CreateBatch "{
  \"spec\": {
    \"batchId\": \"$id\",
    \"batch\": {\"recipe\": {\"variants\": [
      {\"name\": \"thumb\", \"mode\": \"MODE_COVER\", \"width\": 200, \"height\": 200, \"format\": \"FORMAT_JPEG\"}
    ]}}
  },
  \"items\": [{\"uri\": \"$url\"}]
}"
call WatchBatch "{\"name\": \"batches/$id\", \"view\": \"WATCH_VIEW_RESULTS\"}"
call GetBatchReport "{\"name\": \"batches/$id\"}"
