/** An error whose message is one line for the person at the page: what is wrong, and the remedy. */
export class DemoError extends Error {
  name = "DemoError";
}
