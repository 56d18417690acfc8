//! Arrays, maps and structs.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, cast, lit};
use pyrite_functions::type_names::key_value;
use pyrite_proto::error::SparkError;

use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{self, Result};
use crate::types;

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let typed = match call.name.as_str() {
        "array" => array(a, call)?,
        "struct" => structure(call)?,
        "named_struct" => named_struct(call)?,
        "map" | "create_map" => map(a, call)?,
        "size" | "cardinality" | "array_size" => size(a, call)?,
        "array_contains" => {
            call.expect(2, 2)?;
            let (list, value) = item_args(a, call)?;
            call.typed(engine::call_spark("array_contains", vec![list, value])?)?
        }
        "array_position" => {
            call.expect(2, 2)?;
            let (list, value) = item_args(a, call)?;
            let place = cast(
                engine::call("array_position", vec![list, value])?,
                DataType::Int64,
            );
            call.typed(engine::call("coalesce", vec![place, lit(0_i64)])?)?
        }
        "array_remove" => {
            call.expect(2, 2)?;
            let (list, value) = item_args(a, call)?;
            call.typed(engine::call("array_remove_all", vec![list, value])?)?
        }
        "array_append" | "array_prepend" => {
            call.expect(2, 2)?;
            let (list, value) = item_args(a, call)?;
            let args = if call.name == "array_append" {
                vec![list, value]
            } else {
                vec![value, list]
            };
            call.typed(engine::call(&call.name, args)?)?
        }
        "array_union" | "array_intersect" | "array_except" | "arrays_overlap" => {
            call.expect(2, 2)?;
            let (args, _) = a.unify(call.args.clone(), &call.text())?;
            let function = if call.name == "arrays_overlap" {
                "array_has_any"
            } else {
                call.name.as_str()
            };
            call.typed(engine::call(function, args)?)?
        }
        "concat" => {
            let (args, _) = a.unify(call.args.clone(), &call.text())?;
            call.typed(engine::call("array_concat", args)?)?
        }
        "reverse" => call.typed(engine::call(
            "array_reverse",
            vec![call.arg(0)?.expr.clone()],
        )?)?,
        "array_join" => {
            call.expect(2, 3)?;
            let to = types::list_of(DataType::Utf8, true);
            let mut args = vec![a.coerce(call.arg(0)?.clone(), &to)?];
            args.extend(call.args[1..].iter().map(|x| x.expr.clone()));
            call.typed(engine::call("array_to_string", args)?)?
        }
        "array_sort" | "sort_array" => sort_array(call)?,
        "slice" => {
            call.expect(3, 3)?;
            let args = vec![
                call.arg(0)?.expr.clone(),
                a.coerce(call.arg(1)?.clone(), &DataType::Int64)?,
                a.coerce(call.arg(2)?.clone(), &DataType::Int64)?,
            ];
            call.typed(engine::call_spark("slice", args)?)?
        }
        "element_at" | "try_element_at" => element_at(a, call)?,
        "get" => {
            call.expect(2, 2)?;
            let index = a.coerce(call.arg(1)?.clone(), &DataType::Int32)?;
            let args = vec![call.arg(0)?.expr.clone(), index, lit("legacy")];
            call.typed(engine::call("spark_array_get", args)?)?
        }
        "map_contains_key" => {
            call.expect(2, 2)?;
            let DataType::Map(entries, _) = &call.arg(0)?.data_type else {
                return Err(needs(call, "MAP"));
            };
            let key_type = key_value(entries).0.data_type().clone();
            let key = a.coerce(call.arg(1)?.clone(), &key_type)?;
            let keys = engine::call("map_keys", vec![call.arg(0)?.expr.clone()])?;
            call.typed(engine::call("array_has", vec![keys, key])?)?
        }
        "sequence" => sequence(a, call)?,
        "arrays_zip" => arrays_zip(call)?,
        "map_concat" => return Err(SparkError::not_supported("function `map_concat`")),
        "array_insert" => return Err(SparkError::not_supported("function `array_insert`")),
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

fn needs(call: &Call, what: &str) -> SparkError {
    match call.args.first() {
        Some(arg) => errors::unexpected_input(&call.text(), 0, what, &arg.name, &arg.spark_type()),
        None => errors::wrong_arguments(&call.name, "1", 0),
    }
}

fn array(a: &Analyzer, call: &Call) -> Result<Typed> {
    let contains_null = call.args.iter().any(|x| x.nullable);
    let (args, item) = a.unify(call.args.clone(), &call.text())?;
    let made = engine::call("make_array", args)?;
    let wanted = types::list_of(
        if item.is_null() { DataType::Null } else { item },
        contains_null,
    );
    let mut typed = call.typed(made)?;
    if typed.data_type != wanted && matches!(typed.data_type, DataType::List(_)) {
        typed.data_type = wanted;
    }
    typed.nullable = false;
    Ok(typed)
}

fn structure(call: &Call) -> Result<Typed> {
    let mut args = vec![];
    for (index, arg) in call.args.iter().enumerate() {
        let named = arg.column_name.is_some() || arg.source.is_some();
        let name = if named {
            arg.output_name().to_owned()
        } else {
            format!("col{}", index + 1)
        };
        args.extend([lit(name), arg.expr.clone()]);
    }
    let shown: Vec<&str> = call.args.iter().map(|arg| arg.name.as_str()).collect();
    let text = format!("struct({})", shown.join(", "));
    let mut typed = call.named(engine::call("named_struct", args)?, text)?;
    fix_struct(&mut typed, call.args.iter());
    Ok(typed)
}

/// Fields are nullable as their values are.
fn fix_struct<'t>(typed: &mut Typed, values: impl Iterator<Item = &'t Typed>) {
    typed.nullable = false;
    if let DataType::Struct(fields) = &typed.data_type {
        let fields = fields
            .iter()
            .zip(values)
            .map(|(f, v)| arrow::datatypes::Field::new(f.name(), f.data_type().clone(), v.nullable))
            .collect();
        typed.data_type = DataType::Struct(fields);
    }
}

fn named_struct(call: &Call) -> Result<Typed> {
    let (pairs, rest) = call.args.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(errors::wrong_arguments(
            "named_struct",
            "2n (n > 0)",
            call.args.len(),
        ));
    }
    let args = call.args.iter().map(|x| x.expr.clone()).collect();
    let mut typed = call.typed(engine::call("named_struct", args)?)?;
    fix_struct(&mut typed, pairs.iter().map(|[_, value]| value));
    Ok(typed)
}

fn map(a: &Analyzer, call: &Call) -> Result<Typed> {
    let (pairs, rest) = call.args.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(errors::wrong_arguments(
            "map",
            "2n (n > 0)",
            call.args.len(),
        ));
    }
    let text = call.text_as("map");
    let keys: Vec<Typed> = pairs.iter().map(|[key, _]| key.clone()).collect();
    let values: Vec<Typed> = pairs.iter().map(|[_, value]| value.clone()).collect();
    let (keys, _) = a.unify(keys, &text)?;
    let (values, _) = a.unify(values, &text)?;
    let args = vec![
        engine::call("make_array", keys)?,
        engine::call("make_array", values)?,
    ];
    let mut typed = call.named(engine::call_spark("map_from_arrays", args)?, text)?;
    typed.nullable = false;
    Ok(typed)
}

fn size(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 1)?;
    let arg = call.arg(0)?;
    let length = match &arg.data_type {
        DataType::List(_) => engine::call("spark_size", vec![arg.expr.clone()])?,
        DataType::Map(_, _) => engine::call("spark_size", vec![arg.expr.clone()])?,
        _ => return Err(needs(call, "ARRAY\" or \"MAP")),
    };
    let legacy = !a.ansi && call.name != "array_size";
    if legacy {
        return call.typed(engine::call("coalesce", vec![length, lit(-1)])?);
    }
    let mut typed = call.typed(length)?;
    typed.nullable = arg.nullable;
    Ok(typed)
}

/// An array and a value of its item type.
fn item_args(a: &Analyzer, call: &Call) -> Result<(Expr, Expr)> {
    let (list, value) = (call.arg(0)?, call.arg(1)?);
    let DataType::List(item) = &list.data_type else {
        return Err(needs(call, "ARRAY"));
    };
    let common = a.wider(item.data_type(), &value.data_type).ok_or_else(|| {
        errors::type_mismatch(
            "ARRAY_FUNCTION_DIFF_TYPES",
            &call.text(),
            format!(
                "Input to `{}` should have been \"ARRAY\" followed by a value with same element type, but it's [\"{}\", \"{}\"].",
                call.name,
                list.spark_type(),
                value.spark_type()
            ),
        )
    })?;
    let to = types::list_of(common.clone(), true);
    let list = if *item.data_type() == common {
        list.expr.clone()
    } else {
        a.coerce(list.clone(), &to)?
    };
    Ok((list, a.coerce(value.clone(), &common)?))
}

fn sort_array(call: &Call) -> Result<Typed> {
    call.expect(1, 2)?;
    let descending = matches!(
        call.args.get(1).map(|x| &x.expr),
        Some(Expr::Literal(ScalarValue::Boolean(Some(false)), _))
    );
    // sort_array puts nulls first when ascending, array_sort always last.
    let nulls_first = call.name == "sort_array" && !descending;
    let order = lit(if descending { "DESC" } else { "ASC" });
    let nulls = lit(if nulls_first {
        "NULLS FIRST"
    } else {
        "NULLS LAST"
    });
    let args = vec![call.arg(0)?.expr.clone(), order, nulls];
    let text = match (call.name.as_str(), call.args.len()) {
        ("sort_array", 1) => format!("sort_array({}, true)", call.arg(0)?.name),
        ("array_sort", 1) => format!(
            "array_sort({}, lambdafunction((IF(((namedlambdavariable() IS NULL) AND (namedlambdavariable() IS NULL)), 0, (IF((namedlambdavariable() IS NULL), 1, (IF((namedlambdavariable() IS NULL), -1, (IF((namedlambdavariable() < namedlambdavariable()), -1, (IF((namedlambdavariable() > namedlambdavariable()), 1, 0)))))))))), namedlambdavariable(), namedlambdavariable()))",
            call.arg(0)?.name
        ),
        _ => call.text(),
    };
    call.named(engine::call("array_sort", args)?, text)
}

fn element_at(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 2)?;
    let (collection, key) = (call.arg(0)?, call.arg(1)?);
    match &collection.data_type {
        DataType::Map(entries, _) => {
            let key_type = key_value(entries).0.data_type().clone();
            let key = a.coerce(key.clone(), &key_type)?;
            call.typed(engine::call(
                "spark_map_get",
                vec![collection.expr.clone(), key],
            )?)
        }
        DataType::List(_) => {
            let index = a.coerce(key.clone(), &DataType::Int32)?;
            let mode = if a.ansi && call.name == "element_at" {
                "element_at"
            } else {
                "try_element_at"
            };
            call.typed(engine::call(
                "spark_array_get",
                vec![collection.expr.clone(), index, lit(mode)],
            )?)
        }
        _ => Err(needs(call, "ARRAY\" or \"MAP")),
    }
}

fn sequence(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 3)?;
    if !call.args.iter().all(|x| x.data_type.is_integer()) {
        return Err(SparkError::not_supported("sequence of dates and times"));
    }
    let (args, item) = a.unify(call.args.clone(), &call.text())?;
    let mut wide: Vec<Expr> = args.into_iter().map(|e| cast(e, DataType::Int64)).collect();
    if wide.len() == 2 {
        wide.push(lit(ScalarValue::Int64(None)));
    }
    let numbers = engine::call("spark_sequence", wide)?;
    call.typed(cast(numbers, types::list_of(item, false)))
}

fn arrays_zip(call: &Call) -> Result<Typed> {
    let args = call.args.iter().map(|x| x.expr.clone()).collect();
    call.typed(engine::call("arrays_zip", args)?)
}
