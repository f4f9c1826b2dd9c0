// Serve calls that come as lines of JSON: {"id", "call", ...} is answered with {"id", "result"} or {"id", "error"}.
import readline from "node:readline";

export function serve(calls, describeError) {
  const write = (line) => process.stdout.write(JSON.stringify(line) + "\n");
  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const { id, call, ...rest } = JSON.parse(line);
    try {
      write({ id, result: await calls[call](rest) });
    } catch (error) {
      write({ id, error: describeError(error) });
    }
  });
}
