export { Dag, type DagProps, type DagStep } from './dag/Dag';
