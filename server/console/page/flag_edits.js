// What a person has changed of a flag and not yet saved: small edits, that are laid over whatever
// revision the flag has by then, so that nothing is lost when somebody else was faster.

/** The flag with the edits laid over it. */
export function edited(flag, edits) {
  const overrides = { ...flag.overrides };
  for (const [user, variant] of Object.entries(edits.overrides || {}))
    if (variant === null) delete overrides[user];
    else overrides[user] = variant;
  let rollout = flag.rollout || null;
  if (edits.share !== undefined || edits.arms) {
    const arms = { ...(rollout?.arms || {}), ...edits.arms };
    rollout = { share: edits.share ?? rollout?.share ?? 0, salt: rollout?.salt || flag.key, arms };
  }
  return {
    ...flag,
    enabled: edits.enabled ?? flag.enabled,
    default_variant: edits.default_variant ?? flag.default_variant,
    overrides, rollout,
  };
}

/** The fields that differ, as the gateway takes them. */
export function changeOf(flag, edits) {
  const after = edited(flag, edits);
  const change = {};
  for (const name of ["enabled", "default_variant", "rollout", "overrides"])
    if (!same(flag[name] ?? null, emptied(after[name]))) change[name] = emptied(after[name]);
  return change;
}

/** Tell in words how a flag differs from what it was; nothing for equal ones. */
export function differences(before, after) {
  const said = [];
  if (before.enabled !== after.enabled) said.push(after.enabled ? "switched on" : "switched off");
  if (before.default_variant !== after.default_variant)
    said.push(`default ${before.default_variant} → ${after.default_variant}`);
  if (share(before) !== share(after)) said.push(`share ${percent(share(before))} → ${percent(share(after))}`);
  const arms = [before.rollout?.arms || {}, after.rollout?.arms || {}];
  if (!same(...arms)) said.push(`arms ${weights(arms[0])} → ${weights(arms[1])}`);
  const [old, now] = [before.overrides || {}, after.overrides || {}];
  for (const user of new Set([...Object.keys(old), ...Object.keys(now)]))
    if (old[user] !== now[user]) said.push(now[user] ? `${user} gets ${now[user]}` : `${user} is freed`);
  for (const name of ["variants", "targeting", "slot", "description"])
    if (!same(before[name] ?? null, after[name] ?? null)) said.push(`${name} changed`);
  if ((before.rollout?.salt ?? "") !== (after.rollout?.salt ?? "") && before.rollout && after.rollout) said.push("salt changed");
  return said;
}

/** A share in thousandths of a percent, as a person reads it. */
export function percent(thousandths) {
  return thousandths === null ? "none" : `${thousandths / 1000} %`;
}

function share(flag) {
  return flag.rollout ? flag.rollout.share : null;
}

function weights(arms) {
  return Object.entries(arms).map(([name, weight]) => `${name}=${weight}`).join(" ") || "none";
}

function emptied(value) {
  return value && typeof value === "object" && !Object.keys(value).length ? null : value;
}

function same(one, other) {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

function sorted(value) {
  if (!value || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
}
