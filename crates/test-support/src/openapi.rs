//! What every OpenAPI document of ours must be, whatever routes it has.

use std::collections::BTreeSet;

use serde_json::Value;

/// Looks at a whole document: it is of version 3.1, no reference leads nowhere, every operation has an id of its own, whatever asks to
/// wait tells for how long, and nothing names a licence that nobody gave.
///
/// # Panics
///
/// With what is not so.
pub fn assert_sound_document(document: &Value) {
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "it is not 3.1");
    assert!(document["info"].get("license").is_none(), "{}", document["info"]);
    assert_references_resolve(document, document);
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in operations.as_object().expect("a path has operations") {
            let id = operation["operationId"].as_str().expect("an operation has an id");
            assert!(ids.insert(id), "{method} {path}: another operation is {id}");
            for status in ["429", "503"] {
                let response = &operation["responses"][status];
                // Readiness is asked again when whoever asks likes.
                let waits = response.is_object() && path != "/v1/ready";
                assert!(
                    !waits || response["headers"]["Retry-After"].is_object(),
                    "{method} {path}: {status}"
                );
            }
        }
    }
}

fn assert_references_resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').expect("references stay in the document");
                assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
            }
            members.values().for_each(|member| assert_references_resolve(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| assert_references_resolve(document, item)),
        _ => {}
    }
}
