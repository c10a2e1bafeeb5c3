"""Counts the rows of Iceberg tables in Spark, through the SQL catalog; run by the interpreter that has it.

    python spark_counts.py '{"endpoint": "http://127.0.0.1:8333", "uri": "sqlite:///…", "kinds": ["logs"], …}'

Prints {"events": [rows, different row numbers, sum of row numbers]}. compact: afterwards each table's files
are rewritten as larger ones first.
"""

import json
import sys

from pyspark.sql import SparkSession

NUMBER = "CAST(get_json_object(CAST(payload AS STRING), '$.row') AS BIGINT)"


def main() -> None:
    task = json.loads(sys.argv[1])
    settings = {
        "spark.jars": task["jars"],
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "jdbc",
        "spark.sql.catalog.lake.uri": "jdbc:" + task["uri"].replace("sqlite:///", "sqlite:"),
        "spark.sql.catalog.lake.warehouse": task["warehouse"],
        "spark.sql.catalog.lake.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.lake.s3.endpoint": task["endpoint"],
        "spark.sql.catalog.lake.s3.path-style-access": "true",
        "spark.sql.catalog.lake.client.region": task["region"],
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    found = {}
    for kind in task["kinds"]:
        table = f"lake.parquet_sink.{kind}"
        if task.get("compact"):
            spark.sql(f"CALL lake.system.rewrite_data_files(table => 'parquet_sink.{kind}')").collect()
        query = f"SELECT count(*), count(DISTINCT {NUMBER}), coalesce(sum({NUMBER}), 0) FROM {table}"
        found[kind] = list(spark.sql(query).collect()[0])
    print(json.dumps(found))


main()
