"""gRPC status codes by their numbers."""

import grpc

CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
