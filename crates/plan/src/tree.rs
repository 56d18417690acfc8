//! `printSchema()`.

use pyrite_proto::connect;
use pyrite_proto::connect::data_type::Kind;

/// The tree of a schema, down to `level` if there is one.
pub(crate) fn tree_string(schema: &connect::DataType, level: Option<i32>) -> String {
    let depth = level
        .and_then(|l| usize::try_from(l).ok())
        .filter(|l| *l > 0)
        .unwrap_or(usize::MAX);
    let mut out = String::from("root\n");
    if let Some(Kind::Struct(structure)) = &schema.kind {
        fields(structure, " |", depth, &mut out);
    }
    out
}

fn fields(structure: &connect::data_type::Struct, prefix: &str, depth: usize, out: &mut String) {
    if depth == 0 {
        return;
    }
    for field in &structure.fields {
        let Some(data_type) = &field.data_type else {
            continue;
        };
        out.push_str(&format!(
            "{prefix}-- {}: {} (nullable = {})\n",
            field.name,
            type_name(data_type),
            field.nullable
        ));
        inside(data_type, &format!("{prefix}    |"), depth - 1, out);
    }
}

fn inside(data_type: &connect::DataType, prefix: &str, depth: usize, out: &mut String) {
    if depth == 0 {
        return;
    }
    match &data_type.kind {
        Some(Kind::Struct(structure)) => fields(structure, prefix, depth, out),
        Some(Kind::Array(array)) => {
            if let Some(element) = &array.element_type {
                let nullable = array.contains_null;
                out.push_str(&format!(
                    "{prefix}-- element: {} (containsNull = {nullable})\n",
                    type_name(element)
                ));
                inside(element, &format!("{prefix}    |"), depth - 1, out);
            }
        }
        Some(Kind::Map(map)) => {
            if let (Some(key), Some(value)) = (&map.key_type, &map.value_type) {
                out.push_str(&format!("{prefix}-- key: {}\n", type_name(key)));
                inside(key, &format!("{prefix}    |"), depth - 1, out);
                let nullable = map.value_contains_null;
                out.push_str(&format!(
                    "{prefix}-- value: {} (valueContainsNull = {nullable})\n",
                    type_name(value)
                ));
                inside(value, &format!("{prefix}    |"), depth - 1, out);
            }
        }
        _ => {}
    }
}

/// `DataType.typeName`, with the digits of decimals.
fn type_name(data_type: &connect::DataType) -> String {
    match &data_type.kind {
        Some(Kind::Struct(_)) => "struct".into(),
        Some(Kind::Array(_)) => "array".into(),
        Some(Kind::Map(_)) => "map".into(),
        Some(Kind::Byte(_)) => "byte".into(),
        Some(Kind::Short(_)) => "short".into(),
        Some(Kind::Integer(_)) => "integer".into(),
        Some(Kind::Long(_)) => "long".into(),
        _ => crate::types::to_arrow(data_type)
            .map(|t| pyrite_functions::type_names::simple_name(&t))
            .unwrap_or_else(|_| "unknown".into()),
    }
}
