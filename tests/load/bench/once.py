"""One cold start: import the handler named on the command line, answer the event on standard input, say what it cost."""

import importlib
import json
import sys
import time
from types import SimpleNamespace

event = json.load(sys.stdin)
context = SimpleNamespace(
    function_name="function",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:us-east-1:0:function:f",
    aws_request_id="request-0",
    function_version="1",
    log_group_name="",
    log_stream_name="",
    get_remaining_time_in_millis=lambda: 30_000,
)
answer = importlib.import_module(sys.argv[1]).handler(event, context)
cost = {"cpu_ms": time.process_time() * 1000, "status": answer["statusCode"], "body": answer["body"]}
sys.stdout.write("\n" + json.dumps(cost))
