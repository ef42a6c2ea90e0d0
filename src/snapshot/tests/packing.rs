//! The packer: nothing lost, nothing mixed up, cut at row ends, chunks within their size.

use proptest::prelude::*;

use super::*;

const CHUNK: usize = 64;

/// Packs rows of (table, range) in this order with two packers in turn, and answers what each range got.
async fn pack(test: &TestStore, ranges: &[(RangeKey, Vec<Vec<u8>>)]) -> Vec<PackedSegment> {
    let writer = test.writer().await;
    let mut packed = Vec::new();
    let mut packers = [0, 1].map(|_| TablePacker::with_chunk_size(writer.clone(), CHUNK));
    for (index, (key, rows)) in ranges.iter().enumerate() {
        let packer = &mut packers[index % 2];
        packer.begin_range(*key);
        for row in rows {
            packer.push_row(row).await.unwrap();
        }
        packer.end_range();
    }
    for packer in packers {
        packed.extend(packer.finish().await.unwrap());
    }
    packed
}

async fn raw(test: &TestStore, segment: &Segment) -> (Vec<u8>, usize) {
    let chunk = test.raw(&segment.chunk).await.unwrap();
    let (start, length) = (usize::try_from(segment.offset).unwrap(), usize::try_from(segment.length).unwrap());
    (chunk[start..start + length].to_vec(), chunk.len())
}

async fn check(ranges: Vec<(RangeKey, Vec<Vec<u8>>)>) {
    let test = TestStore::new().await;
    let tables = segments_by_table(pack(&test, &ranges).await);
    for table in 0..3 {
        let mut in_order: Vec<_> = ranges.iter().filter(|(key, _)| key.table == table).collect();
        in_order.sort_by_key(|(key, _)| *key);
        let rows: Vec<&[u8]> = in_order.iter().flat_map(|(_, rows)| rows).map(Vec::as_slice).collect();
        let segments = tables.get(&table).map(Vec::as_slice).unwrap_or_default();

        let mut joined = Vec::new();
        for segment in segments {
            let (bytes, chunk) = raw(&test, segment).await;
            assert!(bytes.ends_with(b"\n"), "cut at a row's end");
            assert_eq!(RowSetHash::of_lines(&bytes), segment.rows);
            assert!(chunk <= CHUNK || segment.rows.rows == 1 && segment.length as usize == chunk, "{chunk} bytes");
            joined.extend(bytes);
        }
        assert_eq!(joined, rows.concat(), "table {table}");
        let sum: RowSetHash = segments.iter().map(|segment| &segment.rows).collect();
        assert_eq!(sum, RowSetHash::of_lines(&rows.concat()));
        assert_eq!(segments.is_empty(), rows.is_empty());
    }
}

fn any_ranges() -> impl Strategy<Value = Vec<(RangeKey, Vec<Vec<u8>>)>> {
    let row = "[a-z\t]{0,20}|[a-z]{50,150}".prop_map(|text| format!("{text}\n").into_bytes());
    let range = (0..3_usize, proptest::collection::vec(row, 0..12));
    proptest::collection::vec(range, 0..8).prop_map(|ranges| {
        let numbered = ranges.into_iter().enumerate();
        numbered.map(|(range, (table, rows))| (RangeKey { table, range }, rows)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn segments_hold_exactly_the_rows(ranges in any_ranges()) {
        tokio::runtime::Runtime::new().unwrap().block_on(check(ranges));
    }
}

#[tokio::test]
async fn small_tables_share_a_chunk() {
    let test = TestStore::new().await;
    let ranges: Vec<_> =
        [0, 2, 4].map(|table| (RangeKey { table, range: 0 }, vec![sample_row(table, 0)[..8].to_vec()])).to_vec();
    let writer = test.writer().await;
    let mut packer = TablePacker::new(writer.clone());
    for (key, rows) in &ranges {
        packer.begin_range(*key);
        packer.push_row(&rows[0]).await.unwrap();
        packer.end_range();
    }
    let packed = packer.finish().await.unwrap();

    assert_eq!(
        packed.iter().map(|packed| (packed.key.table, packed.segment.offset)).collect::<Vec<_>>(),
        [(0, 0), (2, 8), (4, 16)]
    );
    assert_eq!(writer.counters().chunks, 1);
}

#[tokio::test]
async fn a_row_outside_a_range_is_refused() {
    let test = TestStore::new().await;
    let mut packer = TablePacker::new(test.writer().await);
    packer.begin_range(RangeKey { table: 0, range: 0 });
    packer.end_range();
    assert!(matches!(packer.push_row(b"1\n").await, Err(SnapshotError::Mismatch { .. })));
}
