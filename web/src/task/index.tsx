import { Page } from '../components/Page';

export default function TaskPage({ id }: { id: string }) {
  return <Page title={id}>{null}</Page>;
}
