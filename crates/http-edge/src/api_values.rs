//! What the values of an OpenAPI document look like: patterns, names to choose from and examples, taken from the constants that the code
//! goes by. Derived schemas take literals only, and a literal can be forgotten when the code changes.
//!
//! All of it runs when a router is made. What is not in the document panics there, so no test passes with a wrong name.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, PathItem};
use utoipa::openapi::schema::{Array, ArrayItems, Object, Schema};
use utoipa::openapi::{OpenApi, Ref, RefOr};

/// What a text may hold.
#[derive(Debug, Clone)]
pub enum Values {
    /// What matches this regular expression.
    Pattern(&'static str),
    /// One of these.
    OneOf(Vec<Value>),
}

impl Values {
    /// One of these, as they are in JSON.
    ///
    /// # Panics
    /// When one of them cannot be written as JSON.
    pub fn one_of<T: Serialize>(names: impl IntoIterator<Item = T>) -> Self {
        let value = |name| serde_json::to_value(name).expect("names are plain data");
        Self::OneOf(names.into_iter().map(value).collect())
    }

    fn say_of(&self, text: &mut Object) {
        match self {
            Self::Pattern(pattern) => text.pattern = Some((*pattern).to_owned()),
            Self::OneOf(names) => text.enum_values = Some(names.clone()),
        }
    }
}

/// Says what a property of a schema holds; of a list, what its items are.
///
/// # Panics
/// When there is no such property, or it is no text.
pub fn describe_property(document: &mut OpenApi, schema: &str, property: &str, values: &Values) {
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    let found = schemas.and_then(|schemas| schemas.get_mut(schema));
    let Some(RefOr::T(Schema::Object(object))) = found else { panic!("there is no schema {schema}") };
    let text = object.properties.get_mut(property).and_then(text_in);
    values.say_of(text.unwrap_or_else(|| panic!("{schema} has no text {property}")));
}

/// Says what every text property of this name holds, in the schemas that `is_meant`.
///
/// # Panics
/// When there is none.
pub fn describe_everywhere(
    document: &mut OpenApi,
    property: &str,
    values: &Values,
    is_meant: impl Fn(&str) -> bool,
) {
    let mut found = false;
    let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
    for (_, schema) in schemas.filter(|(name, _)| is_meant(name)) {
        let RefOr::T(Schema::Object(object)) = schema else { continue };
        if let Some(text) = object.properties.get_mut(property).and_then(text_in) {
            values.say_of(text);
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

/// Gives a parameter an example, and says what it holds, in all operations whose path begins with `below`.
///
/// # Panics
/// When there is no such parameter.
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
                values.say_of(text);
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

/// The operations of a path.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete].into_iter().flatten()
}

/// Gives the body of an operation an example of its own.
///
/// # Panics
/// When there is no such operation with a body.
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

/// Gives every other body an example: that of its schema, or an object of those of all its properties.
///
/// # Panics
/// When a property has none.
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

/// The name of the schema, also of one that may be left out.
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
