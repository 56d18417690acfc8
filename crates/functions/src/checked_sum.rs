//! Sums of integers that refuse to overflow, as Spark's do in ANSI mode.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use crate::error::arithmetic_overflow;

/// `sum` of `bigint`, an error when the sum is none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedSum {
    signature: Signature,
}

impl Default for CheckedSum {
    fn default() -> Self {
        Self {
            signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &'static str {
        "spark_checked_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Total::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "sum");
        Ok(vec![Arc::new(Field::new(name, DataType::Int64, true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Totals::default()))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Total::default()))
    }
}

fn overflow() -> datafusion::common::DataFusionError {
    arithmetic_overflow("overflow", "try_add")
}

fn integers(values: &[ArrayRef]) -> Result<&Int64Array> {
    values
        .first()
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| internal_datafusion_err!("a sum of something else than integers"))
}

/// One sum, from which a window takes values away again; so it is wider than its result.
#[derive(Debug, Default)]
struct Total {
    sum: i128,
    count: usize,
}

impl Total {
    fn result(&self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::Int64(None));
        }
        let sum = i64::try_from(self.sum).map_err(|_| overflow())?;
        Ok(ScalarValue::Int64(Some(sum)))
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in integers(values)?.iter().flatten() {
            self.sum += i128::from(value);
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in integers(values)?.iter().flatten() {
            self.sum -= i128::from(value);
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.result()
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.result()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// A sum for each group.
#[derive(Debug, Default)]
struct Totals {
    sums: Vec<i64>,
    /// Groups that have had a value.
    seen: Vec<bool>,
}

impl Totals {
    fn add(&mut self, group: usize, value: i64) -> Result<()> {
        self.sums[group] = self.sums[group].checked_add(value).ok_or_else(overflow)?;
        self.seen[group] = true;
        Ok(())
    }

    fn emit(&mut self, emit_to: EmitTo) -> Int64Array {
        let sums = emit_to.take_needed(&mut self.sums);
        let seen = emit_to.take_needed(&mut self.seen);
        Int64Array::new(sums.into(), Some(seen.into()))
    }
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = integers(values)?;
        self.sums.resize(total_num_groups, 0);
        self.seen.resize(total_num_groups, false);
        if values.null_count() == 0 && opt_filter.is_none() {
            for (group, value) in group_indices.iter().zip(values.values()) {
                self.add(*group, *value)?;
            }
            return Ok(());
        }
        for (row, (group, value)) in group_indices.iter().zip(values).enumerate() {
            let taken = opt_filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if let Some(value) = value.filter(|_| taken) {
                self.add(*group, value)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.emit(emit_to)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(self.emit(emit_to))])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = integers(values)?;
        let Some(filter) = opt_filter else {
            return Ok(vec![Arc::new(values.clone())]);
        };
        let kept = values
            .iter()
            .zip(filter)
            .map(|(v, f)| v.filter(|_| f == Some(true)));
        Ok(vec![Arc::new(kept.collect::<Int64Array>())])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i64>() + self.seen.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<Int64Array>())
    }

    #[test]
    fn a_sum_that_is_none_is_an_error() {
        let mut total = Total::default();
        total
            .update_batch(&[column(&[Some(i64::MAX), None, Some(1)])])
            .unwrap();
        let error = total.evaluate().unwrap_err().to_string();
        assert!(error.contains("ARITHMETIC_OVERFLOW"), "{error}");
        total.retract_batch(&[column(&[Some(1)])]).unwrap();
        assert_eq!(
            total.evaluate().unwrap(),
            ScalarValue::Int64(Some(i64::MAX)),
            "the frame of a window has moved on"
        );
    }

    #[test]
    fn each_group_has_its_own_sum() {
        let mut totals = Totals::default();
        let values = [column(&[Some(i64::MAX), Some(1), None, Some(2)])];
        totals
            .update_batch(&values, &[0, 1, 2, 1], None, 3)
            .unwrap();
        let sums = totals.evaluate(EmitTo::First(2)).unwrap();
        assert_eq!(sums.as_ref(), column(&[Some(i64::MAX), Some(3)]).as_ref());
        assert_eq!(totals.emit(EmitTo::All).null_count(), 1);
        let error = totals.update_batch(&[column(&[Some(i64::MAX), Some(1)])], &[0, 0], None, 1);
        assert!(error.unwrap_err().to_string().contains("try_add"));
    }
}
