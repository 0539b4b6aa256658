//! Adds patterns, enumerations and examples to an OpenAPI document, from the constants that the code uses.
//!
//! Derived schemas take only literals, and a literal may be forgotten when the code changes. These functions
//! run when a router is built. They panic if the document has no such name, so every test would fail with a
//! wrong one.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, PathItem};
use utoipa::openapi::schema::{Array, ArrayItems, Object, Schema};
use utoipa::openapi::{OpenApi, Ref, RefOr};

/// The values that a text may have.
#[derive(Debug, Clone)]
pub enum Values {
    /// Texts that match this regular expression.
    Pattern(&'static str),
    /// One of these values.
    OneOf(Vec<Value>),
}

impl Values {
    /// Returns the enumeration of `names` as they are written in JSON.
    ///
    /// # Panics
    ///
    /// If a name cannot be written as JSON.
    pub fn one_of<T: Serialize>(names: impl IntoIterator<Item = T>) -> Self {
        let value = |name| serde_json::to_value(name).expect("names are plain data");
        Self::OneOf(names.into_iter().map(value).collect())
    }

    fn apply_to(&self, text: &mut Object) {
        match self {
            Self::Pattern(pattern) => text.pattern = Some((*pattern).to_owned()),
            Self::OneOf(names) => text.enum_values = Some(names.clone()),
        }
    }
}

/// Sets the values of a property of a schema. For a list, sets the values of its items.
///
/// # Panics
///
/// If there is no such property, or it is no text.
pub fn describe_property(document: &mut OpenApi, schema: &str, property: &str, values: &Values) {
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    let found = schemas.and_then(|schemas| schemas.get_mut(schema));
    let Some(RefOr::T(Schema::Object(object))) = found else { panic!("there is no schema {schema}") };
    let text = object.properties.get_mut(property).and_then(text_in);
    values.apply_to(text.unwrap_or_else(|| panic!("{schema} has no text {property}")));
}

/// Sets the values of every text property of this name in the schemas for which `applies` is true.
///
/// # Panics
///
/// If there is no such property.
pub fn describe_everywhere(
    document: &mut OpenApi,
    property: &str,
    values: &Values,
    applies: impl Fn(&str) -> bool,
) {
    let mut found = false;
    let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
    for (_, schema) in schemas.filter(|(name, _)| applies(name)) {
        let RefOr::T(Schema::Object(object)) = schema else { continue };
        if let Some(text) = object.properties.get_mut(property).and_then(text_in) {
            values.apply_to(text);
            found = true;
        }
    }
    assert!(found, "no schema has a text {property}");
}

fn text_in(schema: &mut RefOr<Schema>) -> Option<&mut Object> {
    match schema {
        RefOr::T(Schema::Object(text)) => Some(text),
        RefOr::T(Schema::Array(Array { items: ArrayItems::RefOrSchema(item), .. })) => text_in(item),
        _ => None,
    }
}

/// Sets the example and the values of a parameter in all operations whose path begins with `below`.
///
/// # Panics
///
/// If there is no such parameter.
pub fn describe_parameter(
    document: &mut OpenApi,
    below: &str,
    name: &str,
    example: impl Into<Value>,
    values: Option<&Values>,
) {
    let (example, mut found) = (example.into(), false);
    let paths = document.paths.paths.iter_mut().filter(|(path, _)| path.starts_with(below));
    for parameter in paths.flat_map(|(_, item)| operations(item)).flat_map(parameters) {
        if parameter.name == name {
            if let (Some(values), Some(text)) = (values, parameter.schema.as_mut().and_then(text_in)) {
                values.apply_to(text);
            }
            *parameter =
                ParameterBuilder::from(std::mem::take(parameter)).example(Some(example.clone())).build();
            found = true;
        }
    }
    assert!(found, "no operation below {below} has a parameter {name}");
}

fn parameters(operation: &mut Operation) -> impl Iterator<Item = &mut Parameter> {
    let all = operation.parameters.iter_mut().flatten();
    all.filter_map(|one| if let RefOr::T(parameter) = one { Some(parameter) } else { None })
}

/// Returns the operations of a path.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete].into_iter().flatten()
}

/// Sets the example of the body of one operation.
///
/// # Panics
///
/// If there is no such operation with a body.
pub fn show_request(document: &mut OpenApi, operation_id: &str, example: &Value) {
    let mut all = document.paths.paths.values_mut().flat_map(operations);
    let found = all.find(|operation| operation.operation_id.as_deref() == Some(operation_id));
    let body = found.and_then(|operation| operation.request_body.as_mut());
    let Some(RefOr::T(body)) = body else { panic!("{operation_id} has no body") };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content {
            content.example = Some(example.clone());
        }
    }
}

/// Sets the example of every other body: the example of its schema, or an object of the examples of its
/// properties.
///
/// # Panics
///
/// If a property has no example.
pub fn show_requests(document: &mut OpenApi) {
    let schemas = document.components.as_ref().map(|components| components.schemas.clone());
    let schemas = schemas.unwrap_or_default();
    let resolved = |name: &str| schemas.get(name).unwrap_or_else(|| panic!("there is no schema {name}"));
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let Some(RefOr::T(body)) = &mut operation.request_body else { continue };
        for content in body.content.values_mut() {
            if let RefOr::T(content) = content
                && content.example.is_none()
            {
                let name =
                    content.schema.as_ref().and_then(name_of).expect("a body has a schema with a name");
                let RefOr::T(Schema::Object(object)) = resolved(&name) else { panic!("{name} is no object") };
                content.example = Some(composed(&name, object));
            }
        }
    }
}

/// Returns the name of a schema, optional or not.
fn name_of(schema: &RefOr<Schema>) -> Option<String> {
    match schema {
        RefOr::Ref(Ref { ref_location, .. }) => ref_location.rsplit('/').next().map(ToOwned::to_owned),
        RefOr::T(Schema::OneOf(one_of)) => one_of.items.iter().find_map(name_of),
        RefOr::T(_) => None,
    }
}

fn composed(name: &str, object: &Object) -> Value {
    if let Some(example) = &object.example {
        return example.clone();
    }
    let members = object.properties.iter().map(|(property, schema)| {
        let schema = serde_json::to_value(schema).unwrap_or_default();
        let example = schema.get("example").unwrap_or_else(|| panic!("{name}.{property} has no example"));
        (property.clone(), example.clone())
    });
    Value::Object(members.collect::<Map<_, _>>())
}
