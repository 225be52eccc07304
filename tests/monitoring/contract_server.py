"""A server that keeps Grafana's published contract: it holds state, and checks every request and every answer against the contract."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openapi_core import OpenAPI
from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse
from openapi_core.exceptions import OpenAPIError
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

TOKEN = "a-service-account's-token"


@dataclass
class ContractServer:
    """What a Grafana remembers: data sources, folders, dashboards by uid; and the writes that it was sent."""

    contract: OpenAPI
    url: str = ""
    things: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        asked = WerkzeugOpenAPIRequest(request)
        try:
            self.contract.validate_request(asked)
            status, body = self.answer(request.method, request.path, json.loads(request.get_data() or b"null"), request.authorization)
            response = Response(json.dumps(body), status, content_type="application/json")
            self.contract.validate_response(asked, WerkzeugOpenAPIResponse(response))
        except (OpenAPIError, LookupError) as error:
            self.complaints.append(f"{request.method} {request.path}: {error!r} {error.__cause__!r}")
            response = Response(json.dumps({"message": "breaks the contract"}), 500, content_type="application/json")
        return response(environ, start_response)

    def answer(self, method: str, path: str, body: Any, authorization: Any) -> tuple[int, dict[str, Any]]:
        if authorization is None or authorization.token != TOKEN:
            return 401, {"message": "Invalid API key"}
        if method != "GET":
            self.writes.append(f"{method} {path}")
        match method, path.removeprefix("/api/").split("/"):
            case "GET", ["datasources", "uid", uid]:
                return self.read("data source", uid)
            case "POST", ["datasources"]:
                self.things["data source", body["uid"]] = body
                return 200, {"datasource": body, "id": 1, "message": "Datasource added", "name": body["name"]}
            case "PUT", ["datasources", "uid", uid]:
                self.things["data source", uid] = body
                return 200, {"datasource": body, "id": 1, "message": "Datasource updated", "name": body["name"]}
            case "GET", ["folders", uid]:
                return self.read("folder", uid)
            case "POST", ["folders"]:
                self.things["folder", body["uid"]] = body
                return 200, body
            case "PUT", ["folders", uid]:
                self.things["folder", uid] = {"uid": uid, "title": body["title"]}
                return 200, self.things["folder", uid]
            case "GET", ["dashboards", "uid", uid]:
                return self.read("dashboard", uid)
            case "POST", ["dashboards", "db"]:
                uid = body["dashboard"]["uid"]
                version = self.things.get(("dashboard", uid), {"meta": {"version": 0}})["meta"]["version"] + 1
                kept = body["dashboard"] | {"id": 7, "version": version}
                self.things["dashboard", uid] = {"dashboard": kept, "meta": {"folderUid": body["folderUid"], "version": version}}
                answer = {"id": 7, "uid": uid, "status": "success", "version": version, "url": f"/d/{uid}", "title": kept["title"]}
                return 200, answer
        return 404, {"message": f"nothing at {method} {path}"}

    def read(self, kind: str, uid: str) -> tuple[int, dict[str, Any]]:
        thing = self.things.get((kind, uid))
        return (200, thing) if thing is not None else (404, {"message": f"{kind} not found"})


@contextmanager
def serve(contract: Path) -> Iterator[ContractServer]:
    """Serve on a free port of loopback until the block ends."""
    state = ContractServer(OpenAPI.from_dict(json.loads(contract.read_text())))
    server = make_server("127.0.0.1", 0, state, threaded=True)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
