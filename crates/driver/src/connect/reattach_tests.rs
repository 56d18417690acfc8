use futures::StreamExt;
use pyrite_proto::connect::execute_plan_response::ArrowBatch;

use super::*;

fn buffer(reattachable: bool) -> Arc<ResponseBuffer> {
    Arc::new(ResponseBuffer::new("s", "server", "op", reattachable))
}

fn batch(size: usize) -> ResponseType {
    ResponseType::ArrowBatch(ArrowBatch {
        row_count: size as i64,
        data: vec![0; size].into(),
        ..Default::default()
    })
}

fn rows(response: &ExecutePlanResponse) -> Option<i64> {
    match response.response_type.as_ref()? {
        ResponseType::ArrowBatch(batch) => Some(batch.row_count),
        _ => None,
    }
}

#[tokio::test]
async fn a_broken_stream_resumes_after_the_last_response() {
    let buffer = buffer(true);
    for size in [1, 2, 3] {
        assert!(buffer.push(batch(size)).await);
    }
    buffer.finish(Ok(()));
    let mut first = Box::pin(buffer.read(None).unwrap());
    let one = first.next().await.unwrap().unwrap();
    assert_eq!((rows(&one), one.operation_id.as_str()), (Some(1), "op"));
    drop(first);
    assert!(buffer.detached_for().is_some());

    let rest: Vec<_> = buffer
        .read(Some(&one.response_id))
        .unwrap()
        .map(|r| r.unwrap())
        .collect()
        .await;
    assert_eq!(
        rest.iter().map(rows).collect::<Vec<_>>(),
        [Some(2), Some(3), None]
    );
    assert!(matches!(
        rest[2].response_type,
        Some(ResponseType::ResultComplete(_))
    ));
}

#[tokio::test]
async fn released_responses_cannot_be_read_again() {
    let buffer = buffer(true);
    for size in [1, 2] {
        buffer.push(batch(size)).await;
    }
    let mut reader = Box::pin(buffer.read(None).unwrap());
    let one = reader.next().await.unwrap().unwrap();
    let two = reader.next().await.unwrap().unwrap();
    buffer.release_until(&two.response_id);
    let error = buffer.read(Some(&one.response_id)).err().unwrap();
    assert_eq!(error.condition, "INVALID_CURSOR.POSITION_NOT_AVAILABLE");
    assert!(buffer.read(Some(&two.response_id)).is_ok());
}

#[tokio::test]
async fn the_producer_waits_for_the_reader() {
    let buffer = buffer(true);
    let producer = {
        let buffer = Arc::clone(&buffer);
        tokio::spawn(async move {
            for _ in 0..6 {
                assert!(buffer.push(batch(MAX_UNREAD_BYTES / 2)).await);
            }
            buffer.finish(Ok(()));
        })
    };
    tokio::task::yield_now().await;
    assert!(buffer.state.lock().responses.len() <= 2);
    let read = buffer.read(None).unwrap().count().await;
    producer.await.unwrap();
    assert_eq!(read, 7);
    assert!(buffer.state.lock().kept_bytes <= 2 * MAX_KEPT_BYTES);
}

#[tokio::test]
async fn a_second_reader_ends_the_first() {
    let buffer = buffer(true);
    let mut first = Box::pin(buffer.read(None).unwrap());
    let _second = buffer.read(None).unwrap();
    let error = first.next().await.unwrap().unwrap_err();
    assert_eq!(error.condition, "INVALID_CURSOR.DISCONNECTED");
}

#[tokio::test]
async fn the_producer_stops_when_nobody_can_come_back() {
    let buffer = buffer(false);
    drop(Box::pin(buffer.read(None).unwrap()));
    assert!(!buffer.push(batch(1)).await);

    let kept = self::buffer(true);
    drop(Box::pin(kept.read(None).unwrap()));
    assert!(kept.push(batch(1)).await);
    kept.release_all();
    assert!(!kept.push(batch(1)).await);
}

#[tokio::test]
async fn an_error_reaches_every_reader() {
    let buffer = buffer(true);
    buffer.push(batch(1)).await;
    buffer.finish(Err(SparkError::other("boom")));
    buffer.finish(Ok(()));
    for _ in 0..2 {
        let all: Vec<_> = buffer.read(None).unwrap().collect().await;
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].as_ref().unwrap_err().message, "boom");
    }
}
