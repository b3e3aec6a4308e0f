"""`[auth.jwt]`: how tokens are checked, and the key for it."""

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.fields import Table
from octoroute_py.config.schema import JwtConfig, Secret, TokenAlgorithm
from octoroute_py.config.secrets import Sources, from_file, from_variable, public_text, signing_secret

_SECRET_WAYS = ("secret_env", "secret_file")
_PUBLIC_WAY = "public_key_file"
_SMALLEST_RSA_BITS = 2048
_LARGEST_RSA_BITS = 8192
_LONGEST_LEEWAY_S = 300.0
_LONGEST_AGE_S = 10 * 365 * 86400.0


def read_jwt(table: Table, sources: Sources) -> JwtConfig | None:
    """The table, or None after noting what is wrong with it."""
    for required in ("algorithms", "issuer", "audience"):
        table.require(required)
    for raw in ("key", "secret", "value", "token"):
        if table.has(raw):
            table.problem(raw, "secrets never stand in the file", hint="give secret_env or secret_file")
    algorithms = table.words("algorithms", TokenAlgorithm)
    issuer, audience = table.label("issuer"), table.label("audience")
    workspace_claim = table.label("workspace_claim") or "tenantId"
    scopes_claim = table.label("scopes_claim") or "scopes"
    leeway_s = table.number("leeway_seconds", 30.0, low=0, high=_LONGEST_LEEWAY_S)
    max_age_s = table.number("max_age_seconds", 86400.0, low=1, high=_LONGEST_AGE_S)
    require_workspace = table.flag("require_workspace", True)
    given = [way for way in (*_SECRET_WAYS, _PUBLIC_WAY) if table.has(way)]
    if len(set(algorithms)) != 1:
        if table.has("algorithms"):
            hint = "a key is good for one algorithm"
            table.problem("algorithms", "must name exactly one of HS256, RS256 and ES256", hint=hint)
        return None
    key = _key(table, algorithms[0], given, sources)
    if key is None or issuer is None or audience is None:
        return None
    return JwtConfig(
        algorithms=(algorithms[0],),
        key=key,
        issuer=issuer,
        audience=audience,
        leeway_seconds=leeway_s,
        max_age_seconds=max_age_s,
        workspace_claim=workspace_claim,
        require_workspace=require_workspace,
        scopes_claim=scopes_claim,
    )


def _key(table: Table, algorithm: TokenAlgorithm, given: list[str], sources: Sources) -> Secret | None:
    shared = algorithm is TokenAlgorithm.HS256
    wanted = _SECRET_WAYS if shared else (_PUBLIC_WAY,)
    if len(given) != 1 or given[0] not in wanted:
        table.problem(None, f"{algorithm.value} needs exactly one key: {' or '.join(wanted)}, and no other")
        return None
    if not _has_package(table, shared=shared):
        return None
    text = table.string(given[0])
    if text is None:
        return None
    try:
        if not shared:
            return _public_key(public_text(text, sources.base_dir), algorithm)
        by_name = given[0] == "secret_env"
        return signing_secret(from_variable(text, sources.env) if by_name else from_file(text, sources.base_dir))
    except Wrong as wrong:
        table.problem(given[0], str(wrong))
        return None


def _has_package(table: Table, *, shared: bool) -> bool:
    """Whether what checks tokens is installed; other packages are called `jwt` too."""
    try:
        from jwt.algorithms import has_crypto
    except ImportError:
        has_crypto, installed = False, False
    else:
        installed = shared or has_crypto
    if not installed:
        table.problem(None, "needs a package that is not installed", hint='pip install "octoroute-py[jwt]"')
    return installed


def _public_key(pem: str, algorithm: TokenAlgorithm) -> Secret:
    """The text, if it is the public key of this algorithm; raises Wrong, never with anything of it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if "PRIVATE KEY" in pem:
        raise Wrong("the file named here holds a private key; the issuer keeps that, give its public key")
    if pem.count("-----BEGIN ") > 1:
        raise Wrong("the file named here holds more than one key")
    try:
        key = load_pem_public_key(pem.encode("latin-1"))
    except (ValueError, UnsupportedAlgorithm):
        raise Wrong("the file named here holds no public key in PEM") from None
    if algorithm is TokenAlgorithm.RS256:
        if not isinstance(key, RSAPublicKey) or not _SMALLEST_RSA_BITS <= key.key_size <= _LARGEST_RSA_BITS:
            raise Wrong(f"RS256 needs an RSA key of {_SMALLEST_RSA_BITS} to {_LARGEST_RSA_BITS} bits")
    elif not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Wrong("ES256 needs a key on the curve P-256")
    return Secret(pem)
