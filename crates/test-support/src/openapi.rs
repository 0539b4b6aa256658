//! What every OpenAPI document of ours must be, whatever routes it has.

use std::collections::BTreeSet;

use serde_json::Value;

/// One operation of a document.
#[derive(Debug, Clone)]
pub struct ApiOperation<'a> {
    /// In upper case.
    pub method: String,
    /// The template, with its parameters in braces.
    pub path: &'a str,
    /// What the document says of it.
    pub document: &'a Value,
}

impl ApiOperation<'_> {
    /// The names of the query parameters that it declares.
    #[must_use]
    pub fn query_parameters(&self) -> Vec<&str> {
        let declared = self.document["parameters"].as_array().into_iter().flatten();
        declared.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str()).collect()
    }
}

/// Every operation of a document, so that a test holds for routes that are yet to come.
///
/// # Panics
///
/// When it is no document.
#[must_use]
pub fn operations(document: &Value) -> Vec<ApiOperation<'_>> {
    let paths = document["paths"].as_object().expect("there are paths");
    paths.iter().flat_map(|(path, item)| of_path(path, item)).collect()
}

fn of_path<'a>(path: &'a str, item: &'a Value) -> Vec<ApiOperation<'a>> {
    let methods = item.as_object().expect("a path has operations").iter();
    methods.map(|(name, document)| ApiOperation { method: name.to_uppercase(), path, document }).collect()
}

/// Looks at a whole document: it is of version 3.1, no reference leads nowhere, every operation has an id of
/// its own, whatever asks to wait tells for how long, and nothing names a licence that nobody gave.
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

/// The schema of the body that an operation takes, also of one that may be left out.
#[must_use]
pub fn request_schema<'a>(document: &'a Value, operation: &ApiOperation<'_>) -> Option<&'a Value> {
    let content = operation.document["requestBody"]["content"].as_object()?.values().next()?;
    let schema = &content["schema"];
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    let reference = std::iter::once(schema).chain(one_of).find_map(|one| one["$ref"].as_str())?;
    document.pointer(reference.strip_prefix('#')?)
}

/// Looks at every text of a document: what is called `state`, `lifecycle` or `scopes` names all values that
/// it may have, and what a request takes has names, a pattern or a format. The examples match the patterns.
///
/// # Panics
///
/// With what is not so.
pub fn assert_values_described(document: &Value) {
    let schemas = document["components"]["schemas"].as_object().expect("there are schemas");
    for (schema, property, value) in schemas.iter().flat_map(|(name, schema)| properties(name, schema)) {
        let text = if value["items"].is_object() { &value["items"] } else { value };
        if matches!(property, "state" | "lifecycle" | "scopes") {
            assert!(text["enum"].is_array() || text["$ref"].is_string(), "{schema}.{property} has no names");
        }
        for example in value["example"].as_array().cloned().unwrap_or_else(|| vec![value["example"].clone()])
        {
            assert_holds(&format!("{schema}.{property}"), text, &example);
        }
    }
    for operation in operations(document) {
        let what = |name: &str| format!("{} {} {name}", operation.method, operation.path);
        let schema = request_schema(document, &operation);
        for (_, name, value) in schema.into_iter().flat_map(|schema| properties("", schema)) {
            let text = if value["items"].is_object() { &value["items"] } else { value };
            let is_text = text["type"] == "string"
                || text["type"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "string"));
            // A signed note is judged line by line.
            let free = name == "checkpoints";
            let said = ["enum", "pattern", "format"].iter().any(|key| !text[*key].is_null());
            assert!(!is_text || free || said, "{} says nothing of its values", what(name));
        }
        for parameter in operation.document["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().expect("a parameter has a name");
            assert_holds(&what(name), &parameter["schema"], &parameter["example"]);
        }
    }
}

fn properties<'a>(name: &'a str, schema: &'a Value) -> Vec<(&'a str, &'a str, &'a Value)> {
    let all = schema["properties"].as_object().into_iter().flatten();
    all.map(|(property, value)| (name, property.as_str(), value)).collect()
}

fn assert_holds(what: &str, text: &Value, example: &Value) {
    if let (Some(pattern), Some(example)) = (text["pattern"].as_str(), example.as_str()) {
        let pattern = regex::Regex::new(pattern).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(pattern.is_match(example), "{what}: {example} does not match {pattern}");
    }
    if let (Some(names), false) = (text["enum"].as_array(), example.is_null()) {
        assert!(names.contains(example), "{what}: {example} is none of {names:?}");
    }
}
