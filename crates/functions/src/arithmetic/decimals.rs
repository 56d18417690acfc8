//! Unscaled decimals in 256 bits, so that only a final result can overflow.

use arrow::datatypes::i256;

pub(super) fn widen(value: i128, from: i32, to: i32) -> Option<i256> {
    i256::from_i128(value).checked_mul(i256::from_i128(10).checked_pow((to - from) as u32)?)
}

pub(super) fn rescale(value: i256, from: i32, to: i32) -> Option<i256> {
    if to >= from {
        return value.checked_mul(i256::from_i128(10).checked_pow((to - from) as u32)?);
    }
    let divisor = i256::from_i128(10).checked_pow((from - to) as u32)?;
    let quotient = value.checked_div(divisor)?;
    let rest = value.checked_rem(divisor)?;
    let positive = if rest < i256::ZERO {
        rest.checked_neg()?
    } else {
        rest
    };
    if positive.checked_add(positive)? < divisor {
        return Some(quotient);
    }
    let one = if value < i256::ZERO {
        i256::MINUS_ONE
    } else {
        i256::ONE
    };
    quotient.checked_add(one)
}
