import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// The same input gives the same bytes: `make console-check` builds again and compares. Paths are relative, so that the console works
// below any prefix (the setting `api.public_url`).
export default defineConfig({
  plugins: [svelte({ compilerOptions: { runes: true } })],
  base: "./",
  build: {
    outDir: "../dyff/api/console",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  resolve: process.env["VITEST"] ? { conditions: ["browser"] } : {},
  server: { proxy: { "/v0": process.env["DYFF_SERVER"] ?? "http://127.0.0.1:8000" } },
  test: { include: ["tests/**/*.test.ts"] },
});
