"use strict";
// Prints one line a test and, at the end, the line that the gate adds up.

/** The whole error, with what it was caused by. */
function describe(error) {
  const lines = [];
  // The runner's own wrapper says nothing more.
  const first = error.code === "ERR_TEST_FAILURE" && error.cause ? error.cause : error;
  for (let cause = first; cause; cause = cause.cause) lines.push(cause.stack ?? String(cause));
  return lines.join("\ncaused by: ");
}

module.exports = async function* report(events) {
  let [passed, failed, skipped] = [0, 0, 0];
  for await (const { type, data } of events) {
    if (type === "test:stderr" || type === "test:stdout") {
      yield data.message;
    } else if ((type === "test:pass" || type === "test:fail") && data.details.type !== "suite") {
      const seconds = `${(data.details.duration_ms / 1000).toFixed(1)} s`;
      if (data.todo !== undefined) {
        skipped += 1;
        yield `test ${data.name} ... ${type === "test:pass" ? "passes" : "fails"}, to do: ${data.todo}\n`;
      } else if (data.skip !== undefined) {
        skipped += 1;
        yield `test ${data.name} ... skipped: ${data.skip}\n`;
      } else if (type === "test:pass") {
        passed += 1;
        yield `test ${data.name} ... ok (${seconds})\n`;
      } else {
        failed += 1;
        yield `test ${data.name} ... FAILED (${seconds})\n${describe(data.details.error)}\n`;
      }
    }
  }
  yield `test result: ${failed === 0 ? "ok" : "FAILED"}. ${passed} passed; ${failed} failed; ${skipped} skipped\n`;
};
