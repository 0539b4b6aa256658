//! The text of the error for a field: its name, its value, what it takes, and an example.
//!
//! What it takes and the example come from the OpenAPI schema of the request, so they agree with the
//! document.

use crate::error::HttpError;
use axum::extract::path::ErrorKind;
use input::quoted;
use serde_json::Value;
use std::error::Error;

/// The example of an id in errors.
const A_UUID: &str = "019c6652-5e00-7000-8000-0000000000aa";

/// The length limit of a quote of the request, in bytes.
const QUOTED: usize = 100;

/// Returns the error for a body (`what`) that serde cannot read with this schema.
pub(crate) fn unreadable_body(what: &str, schema: &Value, rejection: &dyn Error) -> HttpError {
    let reason = reason_of(rejection);
    let example = field_of(&reason)
        .and_then(|field| Some((field, example_of(schema.get("properties")?.get(field)?)?)))
        .map(|(field, example)| format!("; e.g. \"{field}\": {example}"));
    HttpError::invalid_request(format!(
        "{what} cannot be read: {}{}",
        shortened(&reason),
        example.unwrap_or_default()
    ))
}

/// Returns the error for a JSON body that is not an object.
pub(crate) fn not_an_object(schema: &Value) -> HttpError {
    let example = match example_of(schema).or_else(|| composed(schema)) {
        Some(example) => format!(", e.g. {}", bounded(&example.to_string(), QUOTED)),
        None => String::new(),
    };
    HttpError::invalid_request(format!("the JSON body is no object; it takes an object{example}"))
}

/// Returns an object with the example of each required property.
fn composed(schema: &Value) -> Option<Value> {
    let required = schema["required"].as_array()?.iter().filter_map(Value::as_str);
    let members = required.map(|name| Some((name.to_owned(), example_of(&schema["properties"][name])?)));
    members.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
}

/// Returns the error for a path parameter.
pub(crate) fn unreadable_path(kind: &ErrorKind) -> HttpError {
    HttpError::invalid_request(match kind {
        ErrorKind::DeserializeError { key, value, message } if message.starts_with("UUID") => {
            format!("{key} in the path is {}; it takes a UUID, e.g. {A_UUID}", quoted(value))
        }
        kind => format!("the path cannot be read: {}", shortened(&kind.to_string())),
    })
}

/// Returns the error for a query that serde cannot read. `held` returns the value of a field.
pub(crate) fn unreadable_query(
    parameters: &[Value],
    held: impl Fn(&str) -> Option<String>,
    rejection: &dyn Error,
) -> HttpError {
    let reason = reason_of(rejection);
    let declared = field_of(&reason).and_then(|field| parameters.iter().find(|one| one["name"] == field));
    let Some((field, declared)) = declared.and_then(|one| Some((one["name"].as_str()?, one))) else {
        return HttpError::invalid_request(format!("the query cannot be read: {}", shortened(&reason)));
    };
    let example = example_of(declared).or_else(|| example_of(&declared["schema"]));
    let example = example.map(|example| format!(", e.g. {field}={}", plain(&example))).unwrap_or_default();
    let held = match held(field) {
        Some(held) => format!("is {}", quoted(&held)),
        None => "is missing".to_owned(),
    };
    let takes = taken_by(&declared["schema"]);
    HttpError::invalid_request(format!("{field} in the query {held}; it takes {takes}{example}"))
}

fn reason_of(rejection: &dyn Error) -> String {
    rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string)
}

/// Returns the field in serde's error.
fn field_of(reason: &str) -> Option<&str> {
    for named in ["missing field `", "duplicate field `"] {
        if let Some((_, rest)) = reason.split_once(named) {
            return rest.split('`').next();
        }
    }
    let path = reason.split_once(": ")?.0;
    let field = path.split(['.', '[']).next()?;
    let is_name = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(field)
}

/// Cuts the quote of the request in a reason, and keeps what follows the quote.
fn shortened(reason: &str) -> String {
    let at = reason.rfind(", expected ").unwrap_or(reason.len());
    let (quote, rest) = reason.split_at(at);
    format!("{}{}", bounded(quote, QUOTED), bounded(rest, 2 * QUOTED))
}

fn bounded(text: &str, most: usize) -> String {
    match text.len() <= most {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(most)]),
    }
}

fn example_of(documented: &Value) -> Option<Value> {
    let example = documented.get("example").or_else(|| documented.get("examples")?.get(0))?;
    Some(example.clone())
}

fn plain(example: &Value) -> String {
    example.as_str().map_or_else(|| example.to_string(), ToOwned::to_owned)
}

fn taken_by(schema: &Value) -> String {
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().map(plain).collect::<Vec<_>>().join(" or ");
    }
    let is = |kind: &str| {
        schema["type"] == kind
            || schema["type"].as_array().is_some_and(|all| all.iter().any(|one| one == kind))
    };
    if is("integer") {
        return match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            (Some(least), None) => format!("a whole number of {least} or more"),
            _ => "a whole number of 0 or more".to_owned(),
        };
    }
    if schema["format"] == "uuid" { "a UUID".to_owned() } else { "text".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_in_an_error_of_serde_is_found() {
        for (reason, field) in [
            ("missing field `brand` at line 1 column 12", Some("brand")),
            ("name: invalid type: integer `1`, expected a string at line 1 column 9", Some("name")),
            ("scopes[1]: invalid type: null, expected a string", Some("scopes")),
            ("duplicate field `name` at line 1 column 3", Some("name")),
            ("EOF while parsing an object at line 1 column 1", None),
            ("a b: c", None),
        ] {
            assert_eq!(field_of(reason), field, "{reason}");
        }
    }

    #[test]
    fn a_quote_is_cut_and_what_follows_it_stays() {
        let long = format!("size: invalid type: string \"{}\", expected u64", "é".repeat(5_000));
        let short = shortened(&long);
        assert!(
            short.starts_with("size: invalid type: string \"é") && short.ends_with("…, expected u64"),
            "{short}"
        );
        assert!(short.len() < 150, "{short}");
    }
}
