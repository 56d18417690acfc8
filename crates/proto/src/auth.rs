//! Bearer tokens on gRPC: what a server checks and what a client adds.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Refuses requests that do not carry `authorization: Bearer <token>`.
///
/// Without a token every request passes.
#[derive(Clone)]
pub struct RequireToken {
    expected: Option<String>,
}

impl RequireToken {
    /// Requires `token`; `None` turns the check off.
    pub fn new(token: Option<&str>) -> Self {
        Self {
            expected: token.map(|t| format!("Bearer {t}")),
        }
    }
}

impl Interceptor for RequireToken {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = &self.expected else {
            return Ok(request);
        };
        match request.metadata().get("authorization") {
            Some(given) if same(given.as_bytes(), expected.as_bytes()) => Ok(request),
            _ => Err(Status::unauthenticated(
                "this port needs the secret of its cluster or application",
            )),
        }
    }
}

/// Adds `authorization: Bearer <token>` to every request.
#[derive(Clone)]
pub struct SendToken {
    value: Option<MetadataValue<Ascii>>,
}

impl SendToken {
    /// Sends `token`; `None` sends nothing.
    ///
    /// # Errors
    /// When the token has characters that a header cannot carry.
    pub fn new(token: Option<&str>) -> Result<Self, tonic::metadata::errors::InvalidMetadataValue> {
        let value = token.map(|t| format!("Bearer {t}").parse()).transpose()?;
        Ok(Self { value })
    }
}

impl Interceptor for SendToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.value {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Compares without telling by its duration where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_passes() {
        let mut check = RequireToken::new(Some("s3cret"));
        assert!(check.call(Request::new(())).is_err());
        let mut wrong = SendToken::new(Some("s3creT")).unwrap();
        assert!(check.call(wrong.call(Request::new(())).unwrap()).is_err());
        let mut right = SendToken::new(Some("s3cret")).unwrap();
        assert!(check.call(right.call(Request::new(())).unwrap()).is_ok());
        assert!(RequireToken::new(None).call(Request::new(())).is_ok());
    }
}
