"""Commands of the gateway: ``python -m gateway render|serve|openapi``."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.resources import as_file, files
from pathlib import Path

from mesh.server.garbage import uncollected

# Of its modules nothing is garbage: a fifth of their import was the search for it.
with uncollected():
    from gateway.contracts import ServiceUnknown
    from gateway.edge.key_exchange import SigningKeyUnknown
    from gateway.edge.key_service import MOST_SECONDS, SECONDS
    from gateway.edge.serve import EdgeSettings, serve
    from gateway.envoy_clusters import REQUESTS, AddressInvalid
    from gateway.envoy_config import Addresses, AdminExposed, render, to_yaml
    from gateway.envoy_tls import Tls
    from gateway.openapi.document import COMMITTED, committed_bytes
    from gateway.policy import BURST, REQUESTS_PER_SECOND, Policy, PolicyInvalid
    from mesh.contract.image import image_bytes
    from mesh.identity.issuers import KEY_SET_HOURS, parse_issuers
    from mesh.identity.jwks import JwksInvalid
    from mesh.identity.keys import AUDIENCE, ISSUER
    from mesh.server.log import configure_logging
    from mesh.tls import TlsInvalid

PREFIX = "SECMESH_GATEWAY_"
CONFIGURATION, IMAGE = "envoy.yaml", "image.binpb"


def _option(parser: argparse.ArgumentParser, name: str, default: str | None, text: str) -> None:
    """Add an option whose default comes from the environment."""
    variable = PREFIX + name.replace("-", "_").upper()
    value = os.environ.get(variable, default)
    shown = f" (default: {default})" if default else ""
    parser.add_argument(
        f"--{name}", default=value, required=value is None, help=f"{text} [{variable}]{shown}"
    )


def _services(parser: argparse.ArgumentParser) -> None:
    variable = f"{PREFIX}SERVICES"
    listed = [each for each in os.environ.get(variable, "").split(",") if each]
    parser.add_argument(
        "--service",
        action="append",
        metavar="NAME=HOST:PORT",
        default=listed or None,
        required=not listed,
        help=f"a service behind the gateway, such as inventory=127.0.0.1:5000; may be repeated, "
        "also for further replicas "
        f"[{variable}, separated by commas]",
    )


def _issuers(parser: argparse.ArgumentParser) -> None:
    _option(parser, "issuer", ISSUER, "issuer (iss) of the tokens")
    _option(
        parser,
        "issuers",
        "",
        "further issuers, as ISSUER=KEYS,...: keys are a file, an https URL, or the tenancy "
        "service as grpcs://HOST:PORT (grpc:// on loopback)",
    )


def _upstream_tls(parser: argparse.ArgumentParser) -> None:
    _option(
        parser,
        "upstream-ca",
        "",
        "file with the authorities of the services' certificates; empty for plaintext",
    )
    _option(parser, "upstream-certificate", "", "certificate chain that services are shown (mTLS)")
    _option(parser, "upstream-key", "", "its private key")


def _tls(arguments: argparse.Namespace) -> Tls:
    chosen = vars(arguments)
    return Tls(**{each.name: chosen.get(each.name, "") for each in fields(Tls)})


def _named(services: Sequence[str] | None) -> dict[str, str]:
    named: dict[str, str] = {}
    for each in services or ():
        name, equals, address = each.partition("=")
        if not equals:
            raise AddressInvalid(f"{each!r} is not NAME=HOST:PORT")
        # A name that comes again names another replica.
        named[name] = f"{named[name]}+{address}" if name in named else address
    return named


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    rendering = commands.add_parser("render", help="print or write Envoy's configuration")
    _services(rendering)
    _upstream_tls(rendering)
    _option(rendering, "certificate", "", "chain that callers are shown; empty for plaintext")
    _option(rendering, "key", "", "its private key")
    _option(rendering, "listen", "127.0.0.1:8080", "where callers connect")
    _option(rendering, "edge-authz", None, "address of the edge's checks")
    _option(rendering, "edge-http", None, "address of the edge's documents")
    _issuers(rendering)
    _option(rendering, "audience", AUDIENCE, "audience (aud) of the tokens")
    _option(
        rendering, "image", "", "descriptor image as Envoy sees it; empty for the installed one"
    )
    _option(
        rendering,
        "cors-origins",
        "",
        "origins whose web pages may call, separated by commas; empty for none",
    )
    _option(
        rendering,
        "requests-per-second",
        str(REQUESTS_PER_SECOND),
        "requests of one tenant in the long run; 0 for no limit",
    )
    _option(rendering, "burst", str(BURST), "requests of one tenant at once")
    _option(
        rendering,
        "concurrent-requests",
        str(REQUESTS),
        "calls of one service at a time; more are refused at once",
    )
    _option(rendering, "otlp", "", "collector of traces (OTLP over gRPC); empty for none")
    _option(rendering, "admin", "", "Envoy's admin port, on loopback only; empty for none")
    rendering.add_argument(
        "--into",
        type=Path,
        metavar="FOLDER",
        help=f"write {CONFIGURATION} and {IMAGE} there instead of printing",
    )
    serving = commands.add_parser("serve", help="run the edge")
    _services(serving)
    _upstream_tls(serving)
    _option(
        serving,
        "jwks",
        None,
        "the issuer's public keys: a file, read when it changes, or an https URL",
    )
    _issuers(serving)
    _option(
        serving,
        "issuers-ca",
        "",
        "file with the authorities of the further issuers' servers; empty for the system's",
    )
    _option(
        serving,
        "key-set-hours",
        f"{KEY_SET_HOURS:g}",
        "for how long a key set is believed that cannot be read again",
    )
    _option(serving, "authz", "127.0.0.1:0", "where Envoy asks about requests")
    _option(serving, "http", "127.0.0.1:0", "where documents and health are served")
    _option(serving, "api-keys", "", "file of API keys, made by `secmesh keys`; empty for none")
    _option(
        serving,
        "signing-keys",
        "",
        "folder of the issuer's own signing key; without it no API key is taken",
    )
    _option(
        serving,
        "api-key-service",
        "",
        "host:port of the tenancy service, asked for API keys that the file lacks; empty for none",
    )
    _option(
        serving,
        "api-key-seconds",
        f"{SECONDS:g}",
        f"how long its answers are used, at most {MOST_SECONDS:g}: a revoked key stops after that",
    )
    _option(
        serving,
        "api-key-token",
        "",
        "file with the token it is asked by; otherwise one of the signing key",
    )
    openapi = commands.add_parser("openapi", help="print the OpenAPI document of all contracts")
    action = openapi.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write it to gateway/openapi.json")
    action.add_argument("--check", action="store_true", help="fail if the committed one differs")
    return parser


def _render(arguments: argparse.Namespace) -> None:
    policy = _policy(arguments)
    addresses = Addresses(
        arguments.listen,
        arguments.edge_authz,
        arguments.edge_http,
        otlp=arguments.otlp,
        admin=arguments.admin,
    )
    services, folder, tls = _named(arguments.service), arguments.into, _tls(arguments)
    if folder is not None:
        image = folder / IMAGE
        shown = arguments.image or str(image)
        bootstrap = render(services, addresses, policy, image=shown, tls=tls)
        image.write_bytes(image_bytes())
        (folder / CONFIGURATION).write_text(to_yaml(bootstrap))
        return
    with as_file(files("secmesh") / IMAGE) as installed:
        shown = arguments.image or str(installed)
        bootstrap = render(services, addresses, policy, image=shown, tls=tls)
    sys.stdout.write(to_yaml(bootstrap))


def _policy(arguments: argparse.Namespace) -> Policy:
    origins = tuple(each.strip() for each in arguments.cors_origins.split(",") if each.strip())
    try:
        rate, burst = int(arguments.requests_per_second), int(arguments.burst)
        concurrent = int(arguments.concurrent_requests)
    except ValueError:
        raise PolicyInvalid("numbers of requests and the burst are whole numbers") from None
    further = tuple(parse_issuers(arguments.issuers))
    return Policy(origins, rate, burst, concurrent, arguments.issuer, arguments.audience, further)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _key_set_seconds(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not hours > 0:
        raise PolicyInvalid("key sets are believed for some hours, such as 24")
    return hours * 3600


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SECONDS:
        raise PolicyInvalid(f"answers about API keys are used for 0 to {MOST_SECONDS:g} seconds")
    return seconds


def _openapi(arguments: argparse.Namespace) -> int:
    wanted = committed_bytes()
    if arguments.write:
        COMMITTED.write_bytes(wanted)
    elif not arguments.check:
        sys.stdout.buffer.write(wanted)
    elif not COMMITTED.exists() or COMMITTED.read_bytes() != wanted:
        sys.stderr.write("gateway/openapi.json is old; run: python -m gateway openapi --write\n")
        return 1
    return 0


def _edge_settings(arguments: argparse.Namespace) -> EdgeSettings:
    return EdgeSettings(
        _named(arguments.service),
        arguments.jwks,
        authz=arguments.authz,
        http=arguments.http,
        tls=_tls(arguments),
        issuer=arguments.issuer,
        issuers=parse_issuers(arguments.issuers),
        issuers_ca=_path(arguments.issuers_ca),
        key_set_seconds=_key_set_seconds(arguments.key_set_hours),
        api_keys=_path(arguments.api_keys),
        signing_keys=_path(arguments.signing_keys),
        api_key_service=arguments.api_key_service,
        api_key_seconds=_seconds(arguments.api_key_seconds),
        api_key_token=_path(arguments.api_key_token),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0 done, 1 refused, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "openapi":
            return _openapi(arguments)
        if arguments.command == "render":
            _render(arguments)
        else:
            configure_logging()
            asyncio.run(serve(_edge_settings(arguments)))
    except (
        *(AddressInvalid, AdminExposed, JwksInvalid, PolicyInvalid, ServiceUnknown, TlsInvalid),
        SigningKeyUnknown,
        OSError,
    ) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
