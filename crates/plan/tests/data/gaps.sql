SELECT conv('ff', 16, 10);
SELECT json_tuple('{"a":1}', 'a');
SELECT schema_of_json('{"a":1}');
SELECT aggregate(array(1, 2, 3), 0, (acc, x) -> acc + x);
SELECT forall(array(1, 2), x -> x > 0);
SELECT transform(array(1, 2), (x, i) -> x + i);
SELECT hash('a');
SELECT format_number(1234567.891, 2);
SELECT map_concat(map('a', 1), map('b', 2));
SELECT array_insert(array(1, 3), 2, 2);
SELECT timestampdiff(DAY, DATE '2020-01-01', DATE '2020-01-05');
SELECT timestampadd(DAY, 1, DATE '2020-01-01');
SELECT skewness(id) FROM range(3);
SELECT mode(id) FROM range(3);
SELECT to_char(12, '99');
SELECT mask('aB1');
SELECT DATE '2020-03-01' - DATE '2020-02-01';
SELECT TIMESTAMP '2020-01-01 00:00:00'
