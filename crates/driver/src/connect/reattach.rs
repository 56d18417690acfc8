//! Responses of one execution on their way to the client: bounded, numbered, and kept until
//! the client releases them, so that a broken stream can be resumed after a response id.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::Stream;
use parking_lot::Mutex;
use prost::Message;
use pyrite_proto::connect::ExecutePlanResponse;
use pyrite_proto::connect::execute_plan_response::{ResponseType, ResultComplete};
use pyrite_proto::error::SparkError;
use tokio::sync::Notify;

use super::errors;

/// The producer waits while more than this lies unread; one response always fits.
const MAX_UNREAD_BYTES: usize = 16 << 20;
/// Responses that were sent but not released are kept up to this size.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// The response buffer of one execution: one producer, at most one reader at a time.
pub struct ResponseBuffer {
    session_id: String,
    server_side_session_id: String,
    operation_id: String,
    reattachable: bool,
    state: Mutex<BufferState>,
    changed: Notify,
}

#[derive(Default)]
struct BufferState {
    /// Responses from `first` on.
    responses: VecDeque<Arc<ExecutePlanResponse>>,
    /// Number of the first response in `responses`.
    first: u64,
    /// Number of the next response that the reader gets.
    next: u64,
    kept_bytes: usize,
    unread_bytes: usize,
    end: Option<Result<(), SparkError>>,
    /// Counts readers; only the latest may read.
    reader: u64,
    /// When the last reader went away.
    detached_at: Option<Instant>,
    released: bool,
}

impl ResponseBuffer {
    /// Creates the buffer of an execution.
    pub fn new(
        session_id: &str,
        server_side_session_id: &str,
        operation_id: &str,
        reattachable: bool,
    ) -> Self {
        Self {
            session_id: session_id.to_owned(),
            server_side_session_id: server_side_session_id.to_owned(),
            operation_id: operation_id.to_owned(),
            reattachable,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Adds a response; waits while the reader is far behind. Returns `false` when nobody
    /// will ever read it.
    pub async fn push(&self, response: ResponseType) -> bool {
        self.push_response(ExecutePlanResponse {
            response_type: Some(response),
            ..Default::default()
        })
        .await
    }

    /// As [`Self::push`], for responses that carry more than their type (schema, metrics).
    pub async fn push_response(&self, response: ExecutePlanResponse) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.released {
                    return false;
                }
                if state.unread_bytes < MAX_UNREAD_BYTES {
                    self.append(&mut state, response);
                    break;
                }
            }
            changed.await;
        }
        self.changed.notify_waiters();
        true
    }

    /// Marks the end: success adds `ResultComplete` for reattachable executions.
    pub fn finish(&self, result: Result<(), SparkError>) {
        {
            let mut state = self.state.lock();
            if state.end.is_some() {
                return;
            }
            if result.is_ok() && self.reattachable && !state.released {
                self.append(
                    &mut state,
                    ExecutePlanResponse {
                        response_type: Some(ResponseType::ResultComplete(ResultComplete {})),
                        ..Default::default()
                    },
                );
            }
            state.end = Some(result);
        }
        self.changed.notify_waiters();
    }

    fn append(&self, state: &mut BufferState, mut response: ExecutePlanResponse) {
        response.session_id.clone_from(&self.session_id);
        response
            .server_side_session_id
            .clone_from(&self.server_side_session_id);
        response.operation_id.clone_from(&self.operation_id);
        // Ids must be unique within the operation; that they count makes resuming cheap.
        let number = state.first + state.responses.len() as u64;
        response.response_id = response_id(number);
        let size = response.encoded_len();
        state.unread_bytes += size;
        state.kept_bytes += size;
        state.responses.push_back(Arc::new(response));
    }

    /// Drops responses up to and including `response_id`.
    pub fn release_until(&self, response_id: &str) {
        let Some(number) = response_number(response_id) else {
            return;
        };
        {
            let mut state = self.state.lock();
            // Never past what was read: an id from the future releases nothing.
            while state.first <= number && state.first < state.next {
                state.drop_first();
            }
        }
        self.changed.notify_waiters();
    }

    /// Drops everything; the producer notices and stops.
    pub fn release_all(&self) {
        {
            let mut state = self.state.lock();
            state.released = true;
            state.responses.clear();
            state.kept_bytes = 0;
            state.unread_bytes = 0;
        }
        self.changed.notify_waiters();
    }

    /// Starts reading after `last_response_id`, or from the first response. An earlier
    /// reader's stream ends.
    ///
    /// # Errors
    /// When the position was released or never existed.
    pub fn read(
        self: &Arc<Self>,
        last_response_id: Option<&str>,
    ) -> Result<
        impl Stream<Item = Result<ExecutePlanResponse, SparkError>> + Send + use<>,
        SparkError,
    > {
        let reader = {
            let mut state = self.state.lock();
            let position = match last_response_id {
                None => 0,
                Some(id) => response_number(id).ok_or_else(|| unavailable(id))? + 1,
            };
            let end = state.first + state.responses.len() as u64;
            if position < state.first || position > end {
                return Err(unavailable(last_response_id.unwrap_or("start")));
            }
            state.next = position;
            state.unread_bytes = state
                .responses
                .iter()
                .skip((position - state.first) as usize)
                .map(|r| r.encoded_len())
                .sum();
            state.reader += 1;
            state.detached_at = None;
            state.reader
        };
        self.changed.notify_waiters();
        let guard = ReaderGuard {
            buffer: Arc::clone(self),
            reader,
        };
        Ok(futures::stream::unfold(Some(guard), |guard| async move {
            let guard = guard?;
            match guard.buffer.next(guard.reader).await {
                Some(Ok(response)) => Some((Ok(response), Some(guard))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        }))
    }

    async fn next(&self, reader: u64) -> Option<Result<ExecutePlanResponse, SparkError>> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.reader != reader {
                    return Some(Err(errors::invalid_cursor(
                        "DISCONNECTED",
                        "The cursor has been disconnected by the server.",
                    )));
                }
                if state.released {
                    return None;
                }
                if let Some(response) = state.take_next() {
                    drop(state);
                    self.changed.notify_waiters();
                    return Some(Ok(Arc::unwrap_or_clone(response)));
                }
                match &state.end {
                    Some(Ok(())) => return None,
                    Some(Err(error)) => return Some(Err(error.clone())),
                    None => {}
                }
            }
            changed.await;
        }
    }

    /// Waits until the reader has got everything, or has gone for good.
    pub async fn read_to_end(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.state.lock().released {
                return;
            }
            changed.await;
        }
    }

    /// Whether the execution has ended (its responses may still be unread).
    pub fn is_finished(&self) -> bool {
        self.state.lock().end.is_some()
    }

    /// The error the execution ended with, if it did.
    pub fn error(&self) -> Option<SparkError> {
        self.state.lock().end.as_ref()?.as_ref().err().cloned()
    }

    /// How long nobody has been reading; `None` while somebody is.
    pub fn detached_for(&self) -> Option<Duration> {
        self.state.lock().detached_at.map(|at| at.elapsed())
    }
}

impl BufferState {
    fn take_next(&mut self) -> Option<Arc<ExecutePlanResponse>> {
        let index = usize::try_from(self.next.checked_sub(self.first)?).ok()?;
        let response = Arc::clone(self.responses.get(index)?);
        self.next += 1;
        self.unread_bytes = self.unread_bytes.saturating_sub(response.encoded_len());
        while self.kept_bytes - self.unread_bytes > MAX_KEPT_BYTES && self.first + 1 < self.next {
            self.drop_first();
        }
        Some(response)
    }

    fn drop_first(&mut self) {
        if let Some(response) = self.responses.pop_front() {
            self.kept_bytes = self.kept_bytes.saturating_sub(response.encoded_len());
            self.first += 1;
        }
    }
}

fn unavailable(position: &str) -> SparkError {
    errors::invalid_cursor(
        "POSITION_NOT_AVAILABLE",
        &format!("The cursor position id {position} is no longer available."),
    )
    .with("responseId", position)
}

fn response_id(number: u64) -> String {
    uuid::Uuid::from_u128(u128::from(number) + 1).to_string()
}

fn response_number(id: &str) -> Option<u64> {
    let number = uuid::Uuid::parse_str(id).ok()?.as_u128();
    u64::try_from(number.checked_sub(1)?).ok()
}

/// Notes when a reader goes away.
struct ReaderGuard {
    buffer: Arc<ResponseBuffer>,
    reader: u64,
}

impl Drop for ReaderGuard {
    fn drop(&mut self) {
        let mut state = self.buffer.state.lock();
        if state.reader == self.reader {
            state.detached_at = Some(Instant::now());
            // Without reattaching nobody can come back for the rest.
            if !self.buffer.reattachable {
                state.released = true;
                drop(state);
                self.buffer.changed.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
#[path = "reattach_tests.rs"]
mod tests;
