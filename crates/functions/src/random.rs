//! `spark_rand`, `spark_randn`, `spark_row_id`, `spark_each_row`: not the same in every row.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// `spark_rand(seed, row)` (uniform in 0..1) or `spark_randn(seed, row)` (normal).
///
/// `row` is a call of [`EachRow`]: of a function of literals alone the engine believes, however
/// volatile it is, that its values are all the same, and drops sorts by it.
///
/// The sequence is not Spark's own; it differs between batches by a counter of the process.
#[derive(Debug)]
pub struct Rand {
    normal: bool,
    signature: Signature,
    batches: AtomicI64,
}

impl Rand {
    /// The function.
    pub fn new(normal: bool) -> Self {
        Self {
            normal,
            signature: Signature::any(2, Volatility::Volatile),
            batches: AtomicI64::new(0),
        }
    }
}

impl PartialEq for Rand {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for Rand {}

impl std::hash::Hash for Rand {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.normal.hash(state);
    }
}

/// SplitMix64: small, seedable, good enough for samples.
fn next(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

impl ScalarUDFImpl for Rand {
    fn name(&self) -> &str {
        if self.normal {
            "spark_randn"
        } else {
            "spark_rand"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), DataType::Float64, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Int64(Some(seed))) = &args.args[0] else {
            return internal_err!("{} needs a literal seed", self.name());
        };
        let batch = self.batches.fetch_add(1, Ordering::Relaxed);
        let mut state =
            (*seed as u64).wrapping_add((batch as u64).wrapping_mul(0xD1B5_4A32_D192_ED03));
        let values = (0..args.number_rows).map(|_| {
            if !self.normal {
                return next(&mut state);
            }
            // Box and Muller: two uniform draws make a normal one.
            let (u, v) = (next(&mut state).max(f64::MIN_POSITIVE), next(&mut state));
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        });
        let array: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        Ok(ColumnarValue::Array(array))
    }
}

/// `spark_row_id()`: numbers that grow and never repeat within a process.
#[derive(Debug)]
pub struct RowId {
    signature: Signature,
    next: AtomicI64,
}

impl Default for RowId {
    fn default() -> Self {
        Self {
            signature: Signature::nullary(Volatility::Volatile),
            next: AtomicI64::new(0),
        }
    }
}

impl PartialEq for RowId {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for RowId {}

impl std::hash::Hash for RowId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        "spark_row_id".hash(state);
    }
}

impl ScalarUDFImpl for RowId {
    fn name(&self) -> &str {
        "spark_row_id"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows as i64;
        let first = self.next.fetch_add(rows, Ordering::Relaxed);
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows));
        Ok(ColumnarValue::Array(ids))
    }
}

/// `spark_each_row()`: null, but nothing that the engine takes for a constant.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct EachRow {
    signature: Signature,
}

impl Default for EachRow {
    fn default() -> Self {
        Self {
            signature: Signature::nullary(Volatility::Volatile),
        }
    }
}

impl ScalarUDFImpl for EachRow {
    fn name(&self) -> &str {
        "spark_each_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_over_the_unit_interval() {
        let mut state = 42;
        let draws: Vec<f64> = (0..10_000).map(|_| next(&mut state)).collect();
        assert!(draws.iter().all(|d| (0.0..1.0).contains(d)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.02, "mean is {mean}");
    }
}
