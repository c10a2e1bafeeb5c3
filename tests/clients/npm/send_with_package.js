// Sends records with a real client package, in Node:  node send_with_package.js PACKAGE BASE_URL KEY COUNT
// The same records as tests/clients/send_with_package.py, and half an emoji, which JavaScript cuts in two; one of a
// far future, to be refused.

const future = new Date("2999-01-01T00:00:00Z");
const half = "cut \ud83d";
const odd = {
  text: 'Zürich ✓ 🎉 "q" \\ \n שלום',
  none: null,
  deep: { a: [1, { b: null }] },
  nan: NaN,
  half,
};

async function segment(url, key, count) {
  const { Analytics } = await import("@segment/analytics-node");
  const client = new Analytics({ writeKey: key, host: url, maxRetries: 20, flushAt: 50, flushInterval: 100 });
  for (let number = 0; number < count; number++) {
    client.track({ userId: `user-${number}`, event: `record ${number}`, properties: { ...odd, number } });
  }
  client.track({ userId: "user-x", event: "of the future", timestamp: future });
  await client.closeAndFlush({ timeout: 120_000 });
}

async function rudder(url, key, count) {
  const { default: Analytics } = await import("@rudderstack/rudder-sdk-node");
  const client = new Analytics(key, { dataPlaneUrl: url, flushAt: 50, flushInterval: 100, logLevel: "error" });
  const sent = [];
  for (let number = 0; number < count; number++) {
    const record = { userId: `user-${number}`, event: `record ${number}`, properties: { ...odd, number } };
    sent.push(new Promise((resolve) => client.track(record, resolve)));
    // It drops silently what its queue has no room for.
    if (number % 500 === 499) await client.flush();
  }
  client.track({ userId: "user-x", event: "of the future", originalTimestamp: future });
  await client.flush();
  await Promise.all(sent);
}

async function posthog(url, key, count) {
  const { PostHog } = await import("posthog-node");
  const client = new PostHog(key, { host: url, flushAt: 50, fetchRetryCount: 8, fetchRetryDelay: 2_000 });
  for (let number = 0; number < count; number++) {
    client.capture({ distinctId: `user-${number}`, event: `record ${number}`, properties: { ...odd, number } });
  }
  client.capture({ distinctId: "user-x", event: "of the future", timestamp: future });
  await client.shutdown(120_000);
}

async function opentelemetry(url, key, count) {
  const { OTLPLogExporter } = await import("@opentelemetry/exporter-logs-otlp-http");
  const { BatchLogRecordProcessor, LoggerProvider } = await import("@opentelemetry/sdk-logs");
  const exporter = new OTLPLogExporter({ url: `${url}/v1/logs`, headers: { authorization: `Bearer ${key}` } });
  const provider = new LoggerProvider({
    processors: [new BatchLogRecordProcessor({ exporter, maxExportBatchSize: 50, scheduledDelayMillis: 100 })],
  });
  const logger = provider.getLogger("records");
  for (let number = 0; number < count; number++) {
    const attributes = { text: odd.text, half, list: [1, 2], number };
    logger.emit({ severityNumber: 13, severityText: "WARN", body: `record ${number}`, attributes });
  }
  logger.emit({ body: "of the future", timestamp: future });
  await provider.shutdown();
}

const packages = { segment, rudder, posthog, opentelemetry };
const [name, url, key, count] = process.argv.slice(2);
await packages[name](url, key, Number(count));
