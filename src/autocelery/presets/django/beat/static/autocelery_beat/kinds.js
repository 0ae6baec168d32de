// Shows the fields that the chosen kind of schedule has. Without scripts all are shown; those of other kinds are ignored.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const fields = {
    crontab: ["crontab"],
    interval: ["seconds"],
    "time of day": ["at", "days"],
    once: ["moment"],
    solar: ["event", "lat", "lon"],
  };
  const kind = document.getElementById("id_kind");
  if (!kind) return;
  const show = () => {
    for (const [name, own] of Object.entries(fields)) {
      for (const field of own) {
        const row = document.querySelector(`.form-row.field-${field}`);
        if (row) row.hidden = name !== kind.value;
      }
    }
  };
  kind.addEventListener("change", show);
  show();
});
