"""`[tracing]` and OpenTelemetry's own variables."""

import sys

import pytest

from octoroute_py.app.settings import known_secrets
from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import Secret, TracingConfig
from tests.fakes.configs import MINIMAL

URL = "http://collector:4318"
SECRET = "Basic hunter22-hunter22"
GIVEN = f'[tracing]\notlp_endpoint = "{URL}"\n'
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


def tracing(text: str = "", **env: str) -> TracingConfig:
    return parse_config(MINIMAL + text, env=env).tracing


def problem(text: str = "", **env: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        tracing(text, **env)
    assert "hunter22" not in str(caught.value)
    return str(caught.value)


def test_it_is_off_unless_somebody_names_a_collector() -> None:
    assert tracing() == tracing("[tracing]\nsample_ratio = 1.0\n") == TracingConfig()
    assert tracing().otlp_endpoint is None


@pytest.mark.parametrize("given", [URL, URL + "/", URL + "/v1/traces", URL + "/v1/traces/"])
def test_spans_go_to_the_path_of_traces_at_the_collector(given: str) -> None:
    assert tracing(GIVEN.replace(URL, given)).otlp_endpoint == f"{URL}/v1/traces"


def test_a_path_of_the_collector_stays() -> None:
    assert tracing(GIVEN.replace(URL, "https://c.test/otlp")).otlp_endpoint == "https://c.test/otlp/v1/traces"


def test_all_of_it_can_be_set() -> None:
    text = GIVEN + 'service_name = "gate"\nsample_ratio = 0.25\nheaders_env = "OTLP_HEADERS"\ntimeout_seconds = 3\n'
    found = tracing(text, OTLP_HEADERS="Authorization=Basic%20hunter22-hunter22, x-tenant = a ,")
    assert found == TracingConfig(
        otlp_endpoint=f"{URL}/v1/traces",
        service_name="gate",
        sample_ratio=0.25,
        headers=(("authorization", Secret(SECRET)), ("x-tenant", Secret("a"))),
        timeout_seconds=3.0,
    )
    assert "hunter22" not in repr(found)


def test_the_values_of_headers_are_never_logged() -> None:
    config = parse_config(MINIMAL + GIVEN, env={HEADERS: "authorization=" + SECRET})
    assert SECRET in known_secrets(config)


def test_opentelemetrys_variables_count_where_the_file_is_silent() -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SERVICE_NAME": "other", HEADERS: "a=b"}
    found = tracing(**env)
    assert (found.otlp_endpoint, found.service_name) == (f"{URL}/v1/traces", "other")
    assert found.headers == (("a", Secret("b")),)
    text = '[tracing]\notlp_endpoint = "http://own"\nservice_name = "mine"\nheaders_env = "MINE"\n'
    found = tracing(text, **env, MINE="c=d")
    assert (found.otlp_endpoint, found.service_name) == ("http://own/v1/traces", "mine")
    assert found.headers == (("c", Secret("d")),)


def test_the_variable_for_traces_wins_over_the_one_for_all_signals_and_is_taken_as_it_is() -> None:
    both = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t.test/x"}
    assert tracing(**both).otlp_endpoint == "http://t.test/x"


def test_the_variables_can_be_switched_off_but_not_the_file() -> None:
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "TRUE"}
    assert tracing(**off).otlp_endpoint is None
    assert tracing(GIVEN, **off).otlp_endpoint == f"{URL}/v1/traces"
    assert tracing(OTEL_EXPORTER_OTLP_ENDPOINT=" ").otlp_endpoint is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tracing]\notlp_endpoint = "collector:4317"\n', "tracing.otlp_endpoint: must start with http:// or https://"),
        ('[tracing]\notlp_endpoint = "http://u:hunter22@c"\n', "otlp_endpoint: must not carry a user name or password"),
        ('[tracing]\notlp_endpoint = "http://c?key=hunter22"\n', "otlp_endpoint: must not have a query"),
        ("[tracing]\notlp_endpoint = 4317\n", "tracing.otlp_endpoint: must be a string"),
        ('[tracing]\nendpoint = "x"\n', "tracing.endpoint: unknown key"),
        ('[tracing]\notlp_endpiont = "x"\n', 'unknown key; did you mean "otlp_endpoint"?'),
        ("[tracing]\nsample_ratio = 1.5\n", "tracing.sample_ratio: must be at least 0 and at most 1"),
        ("[tracing]\nsample_ratio = nan\n", "tracing.sample_ratio: must be a finite number"),
        ("[tracing]\ntimeout_seconds = 0\n", "tracing.timeout_seconds: must be above 0 and at most 60"),
        ('[tracing]\nservice_name = " a"\n', "tracing.service_name: must be printable"),
        ('[tracing]\nheaders = "authorization=hunter22"\n', "tracing.headers: secrets never stand in the file"),
        ('[tracing]\nheaders_env = "GONE"\n', "tracing.headers_env: environment variable GONE is not set"),
        ('[tracing]\nheaders_env = "a=hunter22"\n', "headers_env: must be the name of an environment variable"),
        ('[tracing]\nheaders_env = "BAD"\n', "headers_env: environment variable BAD must hold name=value pairs"),
        ("[tracing]\nheaders_env = 1\n", "tracing.headers_env: must be a string"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str) -> None:
    assert said in problem(text, BAD="hunter22")


@pytest.mark.parametrize("bad", ["hunter22", "a b=hunter22", "a=hunter22%0d%0ax", "a=", "=hunter22", "a=hunter22%ff"])
def test_headers_that_could_not_be_sent_are_refused(bad: str) -> None:
    said = problem(**{HEADERS: bad})
    assert f"environment: {HEADERS}" in said or f"{HEADERS}" in said
    assert "percent-encoded" in said


def test_a_wrong_variable_is_told_by_its_name() -> None:
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in problem(OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317")
    assert "OTEL_SERVICE_NAME" in problem(OTEL_SERVICE_NAME="a\nb")


def test_without_the_extra_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("octoroute_py.config.tracing.find_spec", _nowhere)
    said = problem(GIVEN)
    assert "tracing.otlp_endpoint: tracing needs packages that are not installed" in said
    assert "pip install 'octoroute-py[otel]'" in said
    assert tracing("[tracing]\nsample_ratio = 0.5\n").sample_ratio == 0.5


def _nowhere(name: str) -> None:
    raise ModuleNotFoundError(name)
