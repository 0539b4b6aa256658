//! What every instant in an answer looks like.

use serde_json::Value;

/// Looks at every text of an answer: one that is an RFC 3339 instant has exactly three decimals. An OpenAPI
/// document is left out: it has examples of requests, which may be written in any way that is accepted.
///
/// # Panics
///
/// With the text that has not.
pub fn assert_uniform_timestamps(answer: &Value) {
    match answer {
        Value::Object(members) if members.contains_key("openapi") => {}
        Value::String(text) if is_instant(text) => {
            let rest = &text[19..];
            let decimals =
                rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
            assert_eq!(decimals, 3, "{text} has not three decimals");
        }
        Value::Array(items) => items.iter().for_each(assert_uniform_timestamps),
        Value::Object(members) => members.values().for_each(assert_uniform_timestamps),
        _ => {}
    }
}

/// `yyyy-mm-ddThh:mm:ss`, then decimals or not, then an offset.
fn is_instant(text: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    bytes.len() > SHAPE.len()
        && bytes.iter().zip(SHAPE).all(fits)
        && bytes[SHAPE.len()..].iter().all(|byte| byte.is_ascii_digit() || b".:Z+-".contains(byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instant_without_decimals_is_found_wherever_it_is() {
        for wrong in ["2026-02-16T12:00:00Z", "2026-02-16T12:00:00.1Z", "2026-02-16T12:00:00+02:00"] {
            let answer = json!({"items": [{"at": wrong}]});
            assert!(std::panic::catch_unwind(|| assert_uniform_timestamps(&answer)).is_err(), "{wrong}");
        }
        let fine = json!(["2026-02-16T12:00:00.000Z", "2026-02-16", "use 2026-02-16T12:00:00Z", 1, null]);
        assert_uniform_timestamps(&fine);
    }
}
