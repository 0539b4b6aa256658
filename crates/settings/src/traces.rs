//! `OTEL_*`: where traces are exported, as the OpenTelemetry specification names the variables.
//!
//! The exporter itself reads the variables `OTEL_BSP_*`, which bound its queue and its batches.

use std::time::Duration;

use telemetry::{Sampling, TraceSettings};
use url::Url;

use crate::{Env, EnvError, Kind, choice, millis, switch, text};

/// The path of the traces below `OTEL_EXPORTER_OTLP_ENDPOINT`.
const TRACES_PATH: &str = "v1/traces";
/// The default time limit of an export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit that an operator can set at most, in milliseconds.
const MOST_TIMEOUT: u64 = 60_000;

type Pairs = Vec<(String, String)>;

/// Reads where the service named `service` exports traces. `None` means that it exports none.
///
/// # Errors
/// Fails if a variable cannot be parsed.
pub(crate) fn from_env(env: &Env, service: &str) -> Result<Option<TraceSettings>, EnvError> {
    let disabled = env.get("OTEL_SDK_DISABLED", false, &switch())?;
    let exporters = choice(&[("otlp", true), ("none", false)]);
    let exported = env.get("OTEL_TRACES_EXPORTER", true, &exporters)?;
    let of_traces = env.optional("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint())?;
    let base = env.optional("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint())?;
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        env.optional(name, &choice(&[("http/protobuf", ())]))?;
    }
    let headers = match env.secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &pairs("headers"))? {
        Some(headers) => headers,
        None => env.secret("OTEL_EXPORTER_OTLP_HEADERS", &pairs("headers"))?.unwrap_or_default(),
    };
    let timeouts = millis(1..=MOST_TIMEOUT);
    let timeout = match env.optional("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", &timeouts)? {
        Some(timeout) => timeout,
        None => env.get("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT, &timeouts)?,
    };
    let authorities = match env.optional("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", &certificates())? {
        Some(authorities) => authorities,
        None => env.optional("OTEL_EXPORTER_OTLP_CERTIFICATE", &certificates())?.unwrap_or_default(),
    };
    let attributes = env.optional("OTEL_RESOURCE_ATTRIBUTES", &pairs("attributes"))?.unwrap_or_default();
    let name = env.optional("OTEL_SERVICE_NAME", &text(1..=200))?;
    let (sampling, follows_parent) = sampling_from(env)?;
    let below = |base: Url| format!("{}/{TRACES_PATH}", base.as_str().trim_end_matches('/'));
    let endpoint = of_traces.map(String::from).or_else(|| base.map(below));
    let Some(endpoint) = endpoint.filter(|_| exported && !disabled) else { return Ok(None) };
    let resource = resource(attributes, name, service);
    Ok(Some(TraceSettings { endpoint, headers, authorities, timeout, resource, sampling, follows_parent }))
}

/// Returns the attributes of this process. `OTEL_SERVICE_NAME` has precedence over an attribute.
fn resource(mut attributes: Pairs, name: Option<String>, service: &str) -> Pairs {
    const NAME: &str = "service.name";
    let given = attributes.iter().find(|(key, _)| key == NAME).map(|(_, value)| value.clone());
    attributes.retain(|(key, _)| key != NAME);
    attributes.push((NAME.to_owned(), name.or(given).unwrap_or_else(|| service.to_owned())));
    attributes
}

fn sampling_from(env: &Env) -> Result<(Sampling, bool), EnvError> {
    let ratio = env.get("OTEL_TRACES_SAMPLER_ARG", 1.0, &ratio())?;
    let samplers = choice(&[
        ("parentbased_always_on", (Sampling::All, true)),
        ("parentbased_always_off", (Sampling::None, true)),
        ("parentbased_traceidratio", (Sampling::Ratio(ratio), true)),
        ("always_on", (Sampling::All, false)),
        ("always_off", (Sampling::None, false)),
        ("traceidratio", (Sampling::Ratio(ratio), false)),
    ]);
    env.get("OTEL_TRACES_SAMPLER", (Sampling::All, true), &samplers)
}

fn ratio() -> Kind<f64> {
    Kind::new("a number from 0 to 1, e.g. 0.01", |text| {
        let number = text.parse().ok().filter(|number: &f64| (0.0..=1.0).contains(number));
        number.ok_or_else(String::new)
    })
}

fn endpoint() -> Kind<Url> {
    Kind::new("an http:// or https:// URL, e.g. http://127.0.0.1:4318", |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let good = matches!(url.scheme(), "http" | "https") && url.password().is_none();
        if good { Ok(url) } else { Err(String::new()) }
    })
    .shown_as(ToString::to_string)
}

/// Takes the path of a file with certificates.
fn certificates() -> Kind<Vec<Vec<u8>>> {
    Kind::new("the path of a file with certificates as PEM", |path| {
        let pem = std::fs::read(path).map_err(|error| error.to_string())?;
        telemetry::authorities_of_pem(&pem).ok_or_else(|| "it holds no certificate as PEM".to_owned())
    })
    .shown_as(|found| format!("({} certificates)", found.len()))
}

/// Takes `name=value` pairs, separated by commas. The values are percent-encoded.
fn pairs(what: &str) -> Kind<Pairs> {
    let takes = format!("{what} as name=value, separated by commas, the values percent-encoded");
    Kind::new(takes, |text| {
        text.split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(pair_of)
            .collect::<Option<Pairs>>()
            .ok_or_else(String::new)
    })
}

fn pair_of(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let (name, value) = (name.trim(), percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?);
    let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    (good && !value.chars().any(char::is_control)).then(|| (name.to_owned(), value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, String> {
        let env: Env = variables.iter().copied().collect();
        from_env(&env, "scan-service").map_err(|error| error.to_string())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn traces_are_exported_only_if_an_endpoint_is_set() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let settings = read(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(settings.resource, [("service.name".to_owned(), "scan-service".to_owned())]);
        assert_eq!((settings.sampling, settings.follows_parent), (Sampling::All, true));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/otlp");
        assert_eq!(read(&[ENDPOINT, own]).unwrap().unwrap().endpoint, "https://traces.example/otlp");
    }

    #[test]
    fn the_variables_of_the_specification_are_honoured() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, tenant=a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=prod"),
            ("OTEL_SERVICE_NAME", "scan-eu"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ]);
        let settings = settings.unwrap().unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings.headers, [pair("authorization", "Bearer x"), pair("tenant", "a")]);
        assert_eq!(settings.timeout, Duration::from_millis(2_500));
        let resource = [pair("deployment.environment.name", "prod"), pair("service.name", "scan-eu")];
        assert_eq!(settings.resource, resource);
        assert_eq!((settings.sampling, settings.follows_parent), (Sampling::Ratio(0.01), false));
        assert!(!format!("{settings:?}").contains("Bearer"));
    }

    #[test]
    fn a_wrong_value_is_named_and_a_header_is_never_shown() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://127.0.0.1:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%ff"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
        }
    }
}
